"""The points of a sweep one after another, or some at once, each in a process of its own.

This process never asks for an accelerator.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import jax
from ml_collections import ConfigDict

from aligngap import children, lock, progress
from aligngap.children import Job
from aligngap.errors import AligngapError
from aligngap.runs import workdir
from aligngap.runs.checkpoints import Checkpoints, Damaged
from aligngap.runs.sweep import Point
from aligngap.training import metrics


def on_cpu() -> None:
    """Before anything touches a device: the points' processes are to have all of its memory."""
    jax.config.update("jax_platforms", "cpu")


def train(points: Sequence[Point], folder: Path, command: Sequence[str], at_once: int = 1) -> None:
    """Trains those that are not finished and that no other process has taken, by `children.run`.

    `command` is this one's, to which `--sweep=NAME` is added.
    """
    taken: list[str] = []
    children.run(_left(points, folder, command, taken), at_once)
    if taken:
        progress.say(f"In other processes' hands: {', '.join(taken)}")


def _left(
    points: Sequence[Point], folder: Path, command: Sequence[str], taken: list[str]
) -> Iterator[Job]:
    """What is to be trained, each point claimed; those that others have go to `taken`."""
    for number, point in enumerate(points, start=1):
        held = ExitStack()
        file = claimed(held, folder / point.name)
        if file is None:
            taken.append(point.name)
        elif step(folder / point.name, point.config) < point.config.steps:
            progress.say(f"Point {point.name}, {number} of {len(points)}")
            yield Job(point.name, [*command, f"--sweep={point.name}"], held, (file,))
            continue
        held.close()


def listing(points: Sequence[Point], folder: Path | None) -> str:
    """A line a point: its number, its name, what it overrides, how far it is."""
    width = max(len(point.name) for point in points)
    return "\n".join(
        f"{number:>3}  {point.name:<{width}}  {_stands(folder, point):<16}  "
        + ", ".join(f"{key}={value}" for key, value in point.overrides.items())
        for number, point in enumerate(points)
    )


def step(own: Path, config: ConfigDict) -> int:
    """The step up to which the run in a point's folder is saved, and measured where that was due.

    A last step whose evaluation was cut short counts as the step before it.
    """
    if not (own / "checkpoints").is_dir():
        return 0
    with Checkpoints(own, config) as checkpoints:
        for kept in reversed(checkpoints.steps()):
            try:
                evaluated = checkpoints.position(kept).get("evaluated")
                return kept if evaluated or metrics.measured(own, kept) else kept - 1
            except Damaged:
                continue  # The run itself tells of it and sets it aside.
    return 0


def claimed(stack: ExitStack, own: Path) -> int | None:
    """The lock of a point's folder, held as long as the stack; None where a process has it."""
    try:
        held = stack.enter_context(lock.alone(own.with_name(f".{own.name}.lock"), "taken"))
        if own.is_dir():  # One that was given this point alone has no other lock.
            with workdir.alone(own):
                pass
    except AligngapError:
        return None
    return held.fileno()


def _stands(folder: Path | None, point: Point) -> str:
    steps = point.config.steps
    found = step(folder / point.name, point.config) if folder else 0
    if found == steps:
        return "finished"
    return f"{found:,} of {steps:,}" if found else "nothing saved"
