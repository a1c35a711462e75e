"""Where a run's numbers go: metrics.jsonl, TensorBoard and, where it is installed, W&B."""

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from importlib import util
from pathlib import Path
from typing import Any

from aligngap import atomic, json_text
from aligngap.errors import AligngapError
from aligngap.runs.board import Board

Values = Mapping[str, float]
FILE = "metrics.jsonl"


class Writers:
    """`write` sends a step's values to all of them.

    metrics.jsonl holds what a run computed and nothing that a clock says, so that a run that was
    killed and continued leaves the same file as one that was not. `timing` goes to the others.
    """

    def __init__(
        self, workdir: Path, config: Mapping[str, Any], first_step: int, evaluated: bool = True
    ) -> None:
        self._path = workdir / FILE
        # Before the first checkpoint a run starts afresh, its measurement of step 0 included.
        drop_after(self._path, first_step or -1, evaluated)
        with self._telling():
            self._lines = self._path.open("a", encoding="utf-8")
            self._board = Board(workdir, first_step + 1 if first_step else 0)
        self._wandb = _start_wandb(workdir, config)

    def __enter__(self) -> "Writers":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        try:
            with self._telling():
                self._lines.close()
                self._board.close()
        except AligngapError:
            if error is None:  # One that is under way says more.
                raise
        if self._wandb is not None:
            self._wandb.finish()

    def write(self, step: int, values: Values, timing: Values | None = None) -> None:
        """One line of metrics.jsonl, `step` first, on disk before this returns."""
        known = {name: x if math.isfinite(x) else None for name, x in values.items()}  # JSON's.
        everything = {**values, **(timing or {})}
        with self._telling():
            self._lines.write(json.dumps({"step": step, **known}) + "\n")
            self._lines.flush()
            self._board.write(step, everything)
        if self._wandb is not None:
            self._wandb.log(everything, step=step)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise AligngapError(
                f"the metrics in {self._path.parent} cannot be written ({error.strerror or error}):"
                " make room, and the same command goes on from the last save"
            ) from error


class NoWriters:
    """What every process but the first writes to."""

    def __enter__(self) -> "NoWriters":
        return self

    def __exit__(self, *_: object) -> None: ...

    def write(self, step: int, values: Values, timing: Values | None = None) -> None: ...


def measured(workdir: Path, step: int) -> bool:
    """Whether metrics.jsonl says what evaluators found after that step."""
    return any(found["step"] == step and not _of_step(found) for found, _ in _lines(workdir / FILE))


def drop_after(path: Path, step: int, evaluated: bool = True) -> None:
    """Cuts metrics.jsonl back to the lines up to `step`, where the run goes on from; atomic.

    Where the evaluation of `step` is still to come, what there is of it goes too.
    """
    if not path.exists():
        return
    kept = [
        line + "\n"
        for found, line in _lines(path)
        if found["step"] < step or (found["step"] == step and (evaluated or _of_step(found)))
    ]
    atomic.write(path, "".join(kept))


def _lines(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Those that are whole, as values and as text."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found = json_text.value(line)
            json_text.expect(found, {"step": int})
        except (ValueError, KeyError):
            continue  # It was being written when the process was killed.
        yield found, line


def _of_step(line: Mapping[str, float]) -> bool:
    """Whether a line is a training step's own, not an evaluation's."""
    return any(name.startswith("train/") for name in line)


def _start_wandb(workdir: Path, config: Mapping[str, Any]) -> Any:
    """A W&B run where the library is installed and the user has set it up; else None."""
    if not os.environ.get("WANDB_PROJECT") or util.find_spec("wandb") is None:
        return None
    import wandb

    # The same id for the same workdir: a run that is started again continues its own curves.
    path = workdir.resolve()
    return wandb.init(
        dir=str(path),
        id=hashlib.sha256(str(path).encode()).hexdigest()[:16],
        name=f"{path.parent.name}/{path.name}",
        resume="allow",
        config=dict(config),
    )
