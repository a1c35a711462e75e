"""A real PostgreSQL with pgvector, of pgserver's wheel, in a folder of its own, on a socket alone.

pgserver itself, as root, makes a user of the system and opens all folders above its own to
everybody: a test does neither. PostgreSQL refuses root; then it runs as nobody, from a copy.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from importlib import metadata
from pathlib import Path

import psycopg


class Server:
    """Started, with its socket in the folder `host`; `end` stops it and removes what it left."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pg"))  # A socket's path has 107 bytes at most.
        installed = Path(metadata.distribution("pgserver").locate_file("pgserver"))
        self._as: dict = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}
            for name in ("pgserver", "pgserver.libs"):  # Programs find their libraries beside them.
                shutil.copytree(installed.parent / name, self._folder / "wheel" / name)
            installed = self._folder / "wheel" / "pgserver"
            os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
        self._programs = installed / "pginstall" / "bin"
        self.host = str(self._folder)
        self._data = self._folder / "data"
        self._log = (self._folder / "log").open("w+")
        try:
            self._run("initdb", "--auth=trust", "--username=postgres", "--no-sync", "--locale=C",
                      "--encoding=UTF8", "-D", self._data)  # fmt: skip
            settings = {
                "listen_addresses": "",
                "unix_socket_directories": self._folder,
                "fsync": "off",
            }
            options = [f"--{name}={value}" for name, value in settings.items()]
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, *options], **self._how()
            )
            self._await()
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        process = getattr(self, "_process", None)
        if process is not None:
            process.send_signal(signal.SIGINT)  # Fast: clients are sent away.
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *arguments: object) -> None:
        done = subprocess.run([self._programs / program, *map(str, arguments)], **self._how())
        assert done.returncode == 0, self._said()

    def _await(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(host=self.host, dbname="postgres", user="postgres").close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, self._said()
                assert time.monotonic() < deadline, self._said()
                time.sleep(0.05)

    def _how(self) -> dict:
        return {**self._as, "cwd": self._folder, "stdout": self._log, "stderr": self._log}

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read()
