"""A store that speaks S3 on the loopback interface (moto's server, a process of its own), and a
proxy before it that counts what clients ask for, and spoils what it is told to."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv-s3" / "bin" / "python"  # launch/test.sh makes it.
BUCKET = "pairs"
STALL = 8.0  # Seconds, where clients are told to wait for less.
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # As AWS's documents have it.


class Asked(NamedTuple):
    """One request: GET, its path, and its range of bytes; "" for all."""

    method: str
    path: str
    range: str


class Store:
    """Moto's server with one bucket; `ask` goes past the proxy."""

    def __init__(self, log: Path) -> None:
        self.port = _free_port()
        command = [PYTHON, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        with log.open("w") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=file)
        deadline = time.monotonic() + 120
        while True:
            try:
                self.ask("PUT", f"/{BUCKET}")
                return
            except OSError:
                assert self._process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)

    def ask(self, method: str, path: str, content: bytes | None = None) -> bytes:
        url = f"http://127.0.0.1:{self.port}{path}"
        # Moto takes the service from the credentials' scope.
        scope = "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request"
        headers = {"Authorization": scope, "Content-Type": "application/octet-stream"}
        asked = urllib.request.Request(url, content, headers, method=method)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return answer.read()

    def upload(self, folder: Path, prefix: str) -> str:
        """All files below a folder; the address of them."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                self.ask("PUT", f"/{BUCKET}/{prefix}/{name}", path.read_bytes())
        return f"s3://{BUCKET}/{prefix}"

    def end(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()


class Proxy:
    """Passes requests on to a store. `fault`: (a request, how many like it came before) →
    "", an HTTP status of an error, "reset", "stall", "drip" or "cut" (in the middle)."""

    fault: Callable[[Asked, int], str]
    patience: float  # Seconds that clients wait; a machine that is busy is no fault.

    def __init__(self, port: int) -> None:
        self.asked: list[Asked] = []
        self.forget()
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"proxy": self, "store": port})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def began(self, asked: Asked) -> str:
        with self._lock:
            before = sum(a[:2] == asked[:2] for a in self.asked)  # Whatever their ranges.
            self.asked.append(asked)
        return self.fault(asked, before)

    def count(self, method: str, pattern: str) -> int:
        return sum(a.method == method and bool(re.search(pattern, a.path)) for a in self.asked)

    def forget(self) -> None:
        self.asked.clear()
        self.patience = 60.0
        self.fault = lambda asked, before: ""

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy
    store: int

    def _pass(self) -> None:
        asked = Asked(self.command, self.path, self.headers.get("Range", ""))
        fault = self.proxy.began(asked)
        if fault == "reset":
            return self._reset()
        if fault == "stall":
            time.sleep(STALL)
            return self._reset()
        failed = int(fault) if fault.isdigit() else 0
        status, headers, content = (failed, {}, b"") if failed else self._answer()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fault == "cut":
            self.wfile.write(content[: len(content) // 2])
            return self._reset()
        for start in range(0, len(content), 1024) if fault == "drip" else ():
            self.wfile.write(content[start : start + 1024])
            time.sleep(0.005)
        if fault != "drip" and self.command != "HEAD":
            self.wfile.write(content)
        return None

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass

    def _answer(self) -> tuple[int, dict[str, str], bytes]:
        to = http.client.HTTPConnection("127.0.0.1", self.store, timeout=60)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        to.request(self.command, self.path, body or None, dict(self.headers))
        answer = to.getresponse()
        content = answer.read()
        left_out = {"connection", "transfer-encoding", "keep-alive", "date", "server"}
        left_out |= set() if self.command == "HEAD" else {"content-length"}
        headers = {n: v for n, v in answer.getheaders() if n.lower() not in left_out}
        to.close()
        return answer.status, headers, content

    def _reset(self) -> None:
        """The connection ends with RST, not FIN."""
        self.wfile.flush()
        linger = b"\1\0\0\0\0\0\0\0"
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def environment(proxy: Proxy, **more: str) -> dict[str, str]:
    """Of a client, as a user sets it: where the store is, credentials, how long it waits."""
    times = {"connect_timeout": proxy.patience, "read_timeout": proxy.patience}
    config = json.dumps({**times, "retries": {"max_attempts": 2}})
    ours = {
        "AWS_ENDPOINT_URL": proxy.url,
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "FSSPEC_S3_CONFIG_KWARGS": config,
        "PYTHONPATH": str(ROOT),
        "JAX_NUM_CPU_DEVICES": "1",
    }
    return {**os.environ, **ours, **more}


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
