"""Processes of `aligngap` that this one has started, and the signals that it passes on to them."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from types import FrameType

from aligngap import progress
from aligngap.training.interruption import PASSED_ON, SIGNALS

SECONDS_FOR_LAST_WORDS = 5.0  # A worker of a process that was killed may keep its stderr open.


class Children:
    """A context manager, entered by the main thread, from any of whose threads commands are run.

    `received` is the name of the first signal that came, or None.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._running: set[subprocess.Popen[str]] = set()

    def __enter__(self) -> "Children":
        self._before = {each: signal.signal(each, self._hear) for each in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def run(self, arguments: Sequence[str], held: int, name: str | None = None) -> int:
        """Exit code of `aligngap ARGUMENTS`; that process keeps the lock `held`, should this one be
        killed. With a name, its lines begin with that, and it trains on the CPU."""
        command = [sys.executable, "-m", "aligngap.cli", *arguments]
        if name is None:
            return self._wait(subprocess.Popen(command, pass_fds=[held], text=True))
        environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
        process = subprocess.Popen(
            command, pass_fds=[held], env=environment, text=True, stderr=subprocess.PIPE
        )
        assert process.stderr is not None
        saying = threading.Thread(target=_repeat, args=(name, process.stderr), daemon=True)
        saying.start()
        code = self._wait(process)
        saying.join(SECONDS_FOR_LAST_WORDS)
        return code

    def _wait(self, process: subprocess.Popen[str]) -> int:
        self._running.add(process)
        if self.received:  # Between the last command and this one.
            process.send_signal(PASSED_ON)
        try:
            return process.wait()
        finally:
            self._running.discard(process)

    def _hear(self, number: int, _: FrameType | None) -> None:
        """The first asks them to save and end, the second ends all at once."""
        for process in tuple(self._running):
            process.send_signal(signal.SIGKILL if self.received else PASSED_ON)
        if self.received:
            os._exit(128 + number)
        self.received = signal.Signals(number).name


def _repeat(name: str, lines: Iterable[str]) -> None:
    for line in lines:
        progress.say(f"{name}: {line.rstrip()}")
