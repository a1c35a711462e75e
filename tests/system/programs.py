"""Programs in processes of their own, as a user starts them, and what can befall them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
TINY = {
    "steps": 8,
    "batch_size": 32,
    "data.train_split": "validation",
    "data.validation_split": "test_unseen_both",
    "data.test_splits": "('test_unseen_both',)",
    "model.embed_dim": 16,
    "model.image.width": 32, "model.image.layers": 1, "model.image.heads": 2,
    "model.text.width": 32, "model.text.layers": 1, "model.text.heads": 2,
    "model.text.vocab_size": 600,
    "optimizer.warmup_steps": 2,
    "checkpoint.every_steps": 2,
    "log.every_steps": 1,
}  # fmt: skip

# The start of a program that says what it has held, in MiB. (`ru_maxrss` begins at what the process
# that started it held.)
PEAK = """
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024
"""
# What tests/conftest.py sets to compile fast.
QUICKLY_COMPILED = ("XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS", "JAX_NUM_CPU_DEVICES")


def well_compiled() -> dict[str, str]:
    """The environment of a user: for programs that compute longer than they compile."""
    return {name: value for name, value in os.environ.items() if name not in QUICKLY_COMPILED}


class Program:
    """`aligngap VERB ...` in a process of its own, on one device unless told otherwise.

    As in a plain installation it finds no torch, which the tests have.
    """

    def __init__(self, data_dir: Path, also: Path | None = None) -> None:
        self.data_dir = data_dir
        self._also = f":{also}" if also else ""  # Where a user's own modules are found.
        # Most of these programs compile the same step: each but the first takes it from the folder
        # that all processes of the tests share.
        self.cache = {
            "JAX_COMPILATION_CACHE_DIR": os.environ["JAX_COMPILATION_CACHE_DIR"],
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "aligngap.cli", *map(str, arguments)]

    def environment(self, devices: int = 1) -> dict[str, str]:
        path = f"{ROOT}:{ROOT / 'tests' / 'system' / 'no_torch'}{self._also}"
        here = {"JAX_NUM_CPU_DEVICES": str(devices), "PYTHONPATH": path}
        return {**os.environ, **self.cache, **here}

    def train_arguments(
        self, workdir: Path, preset: str = "alignclip", evaluated_every: int = 4, **overrides
    ) -> list[str]:
        fields = {**TINY, "data.data_dir": self.data_dir}
        fields |= {f"evaluators.{e}.every_steps": evaluated_every for e in ("gap", "retrieval")}
        fields |= {name.replace("__", "."): value for name, value in overrides.items()}
        flags = [f"--config.{name}={value}" for name, value in fields.items()]
        config = f"--config={ROOT / 'configs' / 'quickstart.py'}:{preset}"
        return ["train", config, f"--workdir={workdir}", *flags]

    def run(
        self, *arguments: str, devices: int = 1, cwd: Path = ROOT, limited=None
    ) -> subprocess.CompletedProcess:
        """To its end; `limited` is called in the child before it starts."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(devices),
            cwd=cwd,
            preexec_fn=limited,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def train(
        self, workdir: Path, *, devices: int = 1, preset: str = "alignclip", limited=None, **fields
    ) -> subprocess.CompletedProcess:
        arguments = self.train_arguments(workdir, preset, **fields)
        return self.run(*arguments, devices=devices, limited=limited)


class Running:
    """A program that goes on while the test does, in a process group of its own."""

    def __init__(self, command: list[str], environment: dict[str, str], said: Path) -> None:
        self.file = said
        with said.open("w") as file:  # A pipe would stay open as long as a stopped child does.
            self.process = subprocess.Popen(
                command, env=environment, stderr=file, start_new_session=True
            )

    @property
    def said(self) -> str:
        return self.file.read_text()

    def wait_until(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 240
        while not reached():
            assert self.process.poll() is None, f"it ended too early: {self.said}"
            assert time.monotonic() < deadline, self.said
            time.sleep(0.004)

    def children(self, pattern: str) -> list[int]:
        """Processes that it started, oldest first."""
        found = subprocess.check_output(["pgrep", "-P", str(self.process.pid), "-f", pattern])
        return [int(pid) for pid in found.split()]

    def end(self) -> int:
        """Its exit code."""
        return self.process.wait(timeout=280)

    def kill(self) -> None:
        """kill -9 of it and of all that it started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait()
