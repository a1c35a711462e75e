"""The points of a sweep one after another, or some at once, each in a process of its own.

So each starts with all of a device's memory and with the XLA flags that its config asks for, and
one that is killed for its memory, or ended by its watchdog, does not end the others. This process
never asks for an accelerator.
"""

import os
import signal
import threading
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import jax

from aligngap import lock, progress
from aligngap.errors import AligngapError, Preempted, UsageError
from aligngap.runs import workdir
from aligngap.runs.checkpoints import Checkpoints, Damaged
from aligngap.runs.sweep import Point
from aligngap.training.children import Children


def on_cpu() -> None:
    """Before anything touches a device: the points' processes are to have all of its memory."""
    jax.config.update("jax_platforms", "cpu")


def train(points: Sequence[Point], folder: Path, command: Sequence[str], at_once: int = 1) -> None:
    """Trains those that are not finished and that no other process has taken; several at once on a
    CPU, each on its share of the cores.

    Preempted after a signal, when the points in hand have saved; AligngapError, naming them, where
    some have failed; UsageError for fewer cores than points at once. `command` is this one's, to
    which `--sweep=NAME` is added.
    """
    shares = _shares(at_once)
    with Children() as children:
        work = _Work(points, folder, command, children)
        if at_once == 1:
            work.go_on()
        else:
            with ThreadPoolExecutor(at_once) as pool:
                for each in [pool.submit(work.go_on, cores) for cores in shares]:
                    each.result()
    work.end()


class _Work:
    """What is left of a sweep; any number of threads go on with it."""

    def __init__(
        self, points: Sequence[Point], folder: Path, command: Sequence[str], children: Children
    ) -> None:
        self._points, self._folder, self._command = points, folder, command
        self._children, self._left = children, iter(enumerate(points))
        self._alone = threading.Lock()  # With what is left, and with Orbax.
        self._failed: list[str] = []
        self._taken: list[str] = []
        self._stopped: list[str] = []

    def go_on(self, cores: Collection[int] | None = None) -> None:
        """Trains one point after another: with `cores` on these alone, and without a terminal."""
        if cores is not None:
            os.sched_setaffinity(0, cores)  # Of this thread, from which its processes have it.
        while True:
            with ExitStack() as stack:
                with self._alone:
                    found = self._next(stack)
                if found is None:
                    return
                point, held = found
                words = [*self._command, f"--sweep={point.name}"]
                code = self._children.run(words, held, None if cores is None else point.name)
                if self._children.received or code == Preempted.exit_code:
                    self._stopped.append(point.name)
                    return
                if code:
                    self._failed.append(point.name)
                    progress.say(f"Point {point.name} failed ({_ended(code)}); the others go on")

    def end(self) -> None:
        """Says how it ended, or raises it."""
        if self._stopped:
            raise Preempted(
                f"{self._children.received or 'a signal'}: stopped at point "
                f"{', '.join(self._stopped)}; the same command goes on from there"
            )
        if self._taken:
            progress.say(f"In other processes' hands: {', '.join(self._taken)}")
        if self._failed:
            raise AligngapError(
                f"{len(self._failed)} of {len(self._points)} points failed: "
                f"{', '.join(self._failed)}; the same command tries them again"
            )

    def _next(self, stack: ExitStack) -> tuple[Point, int] | None:
        """The next point that is to be trained, and its lock, held as long as the stack."""
        for number, point in self._left:
            if self._stopped or self._children.received:
                return None
            own = ExitStack()
            held = _claimed(own, self._folder, point)
            if held is None:
                self._taken.append(point.name)
            elif step(self._folder, point) < point.config.steps:
                stack.enter_context(own)
                progress.say(f"Point {point.name}, {number + 1} of {len(self._points)}")
                return point, held
            own.close()
        return None


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


def _shares(count: int) -> list[Collection[int] | None]:
    """This process's cores in so many parts of one size; None each where they are not known."""
    if not hasattr(os, "sched_getaffinity"):
        return [None] * count
    cores = sorted(os.sched_getaffinity(0))
    size = len(cores) // count
    if not size:
        raise UsageError(f"--at_once={count}: there are {len(cores)} cores; give at most as many")
    return [cores[part * size : (part + 1) * size] for part in range(count)]


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
