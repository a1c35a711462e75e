"""Which learning rate each method is to have: chosen on `validation`, by a sweep over rates."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aligngap import progress
from aligngap.errors import AligngapError
from aligngap.reporting.run_page.runs import TRAIN, reading
from aligngap.runs import sweep, workdir

# The mean of R@10 in both directions, after the last step: the field's usual choice, and no test.
DECIDES = tuple(
    f"validation/retrieval/{direction}_retrieval_recall@10" for direction in ("text", "image")
)


class Choice(NamedTuple):
    """Of one method: rate → what decides, the mean over its runs; and the best rate."""

    reached: Mapping[float, float]
    rate: float

    @property
    def at_an_end(self) -> bool:
        """Whether the best is the lowest or the highest that was tried: another may be better."""
        return self.rate in (min(self.reached), max(self.reached))


def choose(folders: Sequence[Path]) -> dict[str, Choice]:
    """Method → its rate, by the mean of R@10 image → text and text → image on `validation` after
    the last step, as training has written it into metrics.jsonl; of equals the lower rate.

    Runs that are not finished are told and left out. AligngapError where none is finished.
    """
    reached: dict[str, dict[float, list[float]]] = {}
    for folder in (point for each in folders for point in sweep.workdirs(each)):
        found = _reached(folder)
        if found is None:
            progress.say(f"{folder} is not finished, and left out")
            continue
        method, rate, value = found
        reached.setdefault(method, {}).setdefault(rate, []).append(value)
    if not reached:
        raise AligngapError(f"no run of {', '.join(map(str, folders))} is finished: train them")
    return {method: _choice(rates) for method, rates in reached.items()}


def lines(found: Mapping[str, Choice]) -> Iterator[str]:
    """A table, and the rates as configs/study/study.py takes them."""
    rates = sorted({rate for each in found.values() for rate in each.reached})
    yield "mean R@10 of both directions on validation after the last step, by learning rate"
    yield f"{'':<24}" + "".join(f"{rate:<10g}" for rate in rates)
    for method, each in found.items():
        cells = (f"{each.reached[r]:.4f}" if r in each.reached else "–" for r in rates)
        note = "  at an end of the grid" if each.at_an_end else ""
        yield f"{method:<24}" + "".join(f"{x:<10}" for x in cells) + f"best {each.rate:g}{note}"
    yield f"CHOSEN = {json.dumps({method: each.rate for method, each in found.items()})}"


def _reached(folder: Path) -> tuple[str, float, float] | None:
    """Method, rate and what decides of a run after its last step; None where it is not there."""
    if not (folder / "config.json").is_file():
        return None
    config = workdir.read_config(folder)
    found = last_with(folder, DECIDES[0])
    if found is None or found["step"] != config.steps:
        return None
    value = float(np.mean([found[name] for name in DECIDES]))
    return str(config.name), float(config.optimizer.peak_lr), value


def last_with(folder: Path, name: str) -> dict[str, Any] | None:
    """The last record of a run's metrics.jsonl that has this metric."""
    with reading(folder / "metrics.jsonl", TRAIN) as path:
        lines = path.read_text("utf-8").splitlines(keepends=True)
        # A line without an end is being written.
        records = (json.loads(line) for line in reversed(lines) if line.endswith("\n"))
        return next((dict(x) for x in records if name in x), None)


def _choice(rates: Mapping[float, Sequence[float]]) -> Choice:
    reached = {rate: float(np.mean(rates[rate])) for rate in sorted(rates)}
    return Choice(reached, max(reached, key=lambda rate: reached[rate]))
