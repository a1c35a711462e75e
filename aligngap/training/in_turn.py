"""The points of a sweep one after another, each in a process of its own.

So each starts with all of a device's memory and with the XLA flags that its config asks for, and
one that is killed for its memory, or ended by its watchdog, does not end the others. This process
never asks for an accelerator.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import jax

from aligngap import lock, progress
from aligngap.errors import AligngapError, Preempted
from aligngap.runs import workdir
from aligngap.runs.checkpoints import Checkpoints, Damaged
from aligngap.runs.sweep import Point
from aligngap.training.interruption import PASSED_ON, SIGNALS


def on_cpu() -> None:
    """Before anything touches a device: the points' processes are to have all of its memory."""
    jax.config.update("jax_platforms", "cpu")


def train(points: Sequence[Point], folder: Path, command: Sequence[str]) -> None:
    """Trains those that are not finished and that no other process has taken.

    Preempted after a signal, when the point in hand has saved; AligngapError, naming them, where
    some have failed. `command` is this one's, to which `--sweep=NAME` is added.
    """
    failed, taken = [], []
    with Child() as child:
        for number, point in enumerate(points):
            with ExitStack() as stack:
                held = _claimed(stack, folder, point)
                if held is None:
                    taken.append(point.name)
                    continue
                if step(folder, point) == point.config.steps:
                    continue
                progress.say(f"Point {point.name}, {number + 1} of {len(points)}")
                code = child.run([*command, f"--sweep={point.name}"], held)
            if child.received or code == Preempted.exit_code:
                raise Preempted(
                    f"{child.received or 'a signal'}: stopped at point {point.name}; the same "
                    "command goes on from there"
                )
            if code:
                failed.append(point.name)
                progress.say(f"Point {point.name} failed ({_ended(code)}); the others go on")
    if taken:
        progress.say(f"In other processes' hands: {', '.join(taken)}")
    if failed:
        raise AligngapError(
            f"{len(failed)} of {len(points)} points failed: {', '.join(failed)}; the same command "
            "tries them again"
        )


def check(points: Sequence[Point], folder: Path) -> None:
    """UsageError where a point's folder holds another config's run."""
    for point in points:
        workdir.check(folder / point.name, point.config)


def listing(points: Sequence[Point], folder: Path | None) -> str:
    """A line a point: its number, its name, what it overrides, how far it is."""
    width = max(len(point.name) for point in points)
    return "\n".join(
        f"{number:>3}  {point.name:<{width}}  {_stands(folder, point):<16}  "
        + ", ".join(f"{key}={value}" for key, value in point.overrides.items())
        for number, point in enumerate(points)
    )


def step(folder: Path, point: Point) -> int:
    """The step up to which a point's run is saved, and measured where that was due.

    A last step whose evaluation was cut short counts as the step before it.
    """
    own = folder / point.name
    if not (own / "checkpoints").is_dir():
        return 0
    with Checkpoints(own, point.config) as checkpoints:
        for kept in reversed(checkpoints.steps()):
            try:
                return kept if checkpoints.position(kept).get("evaluated") else kept - 1
            except Damaged:
                continue  # The run itself tells of it and sets it aside.
    return 0


class Child:
    """A context manager that runs one command at a time, and passes this process's signals on."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Child":
        self._before = {each: signal.signal(each, self._hear) for each in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def run(self, arguments: Sequence[str], held: int) -> int:
        """Exit code of `aligngap ARGUMENTS`; that process keeps the lock `held`, should this one be
        killed."""
        command = [sys.executable, "-m", "aligngap.cli", *arguments]
        self._process = subprocess.Popen(command, pass_fds=[held])
        if self.received:  # Between the last point and this one.
            self._process.send_signal(PASSED_ON)
        return self._process.wait()

    def _hear(self, number: int, _: FrameType | None) -> None:
        """The first asks the child to save and end, the second ends both at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL if self.received else PASSED_ON)
        if self.received:
            os._exit(128 + number)
        self.received = signal.Signals(number).name


def _claimed(stack: ExitStack, folder: Path, point: Point) -> int | None:
    """The lock of a point, held as long as the stack; None where another process trains it."""
    own = folder / point.name
    try:
        held = stack.enter_context(lock.alone(folder / f".{point.name}.lock", "taken"))
        if own.is_dir():  # One that was given this point alone has no other lock.
            with workdir.alone(own):
                pass
    except AligngapError:
        return None
    return held.fileno()


def _stands(folder: Path | None, point: Point) -> str:
    steps = point.config.steps
    found = step(folder, point) if folder else 0
    if found == steps:
        return "finished"
    return f"{found:,} of {steps:,}" if found else "nothing saved"


def _ended(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"killed by {signal.Signals(-code).name}"
