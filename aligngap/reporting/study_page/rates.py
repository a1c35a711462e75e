"""Which learning rate each method is to have: chosen on `validation`, by a sweep over rates."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aligngap import atomic, json_text, progress
from aligngap.errors import AligngapError
from aligngap.json_text import NUMBER
from aligngap.reporting.run_page.runs import TRAIN, reading
from aligngap.runs import sweep, workdir

# The mean of R@10 in both directions, after the last step: the field's usual choice, and no test.
DECIDES = tuple(
    f"validation/retrieval/{direction}_retrieval_recall@10" for direction in ("text", "image")
)


FILE = "rates.json"  # In the folder of a study: what each run of the grid has reached.


class Reached(NamedTuple):
    """A finished run, and what decides after its last step."""

    method: str
    rate: float
    seed: int
    value: float


FORM = {"method": str, "rate": NUMBER, "seed": int, "value": NUMBER}  # As JSON.


class Choice(NamedTuple):
    """Of one method: rate → what decides, the mean over its runs; and the best rate."""

    reached: Mapping[float, float]
    rate: float

    @property
    def at_an_end(self) -> bool:
        """Whether the best is the lowest or the highest that was tried: another may be better."""
        return self.rate in (min(self.reached), max(self.reached))


def read(folders: Sequence[Path]) -> list[Reached]:
    """The mean of R@10 image → text and text → image on `validation` after the last step, as
    training has written it into metrics.jsonl.

    Runs that are not finished are told and left out. AligngapError where none is finished.
    """
    found = []
    for folder in (point for each in folders for point in sweep.workdirs(each)):
        run = _reached(folder)
        if run is None:
            progress.say(f"{folder} is not finished, and left out")
        else:
            found.append(run)
    if not found:
        raise AligngapError(f"no run of {', '.join(map(str, folders))} is finished: train them")
    return found


def choose(reached: Sequence[Reached]) -> dict[str, Choice]:
    """Method → its rate, the best by the mean over its runs; of equals the lower one."""
    values: dict[str, dict[float, list[float]]] = {}
    for run in reached:
        values.setdefault(run.method, {}).setdefault(run.rate, []).append(run.value)
    return {method: _choice(rates) for method, rates in values.items()}


def gather(folders: Sequence[Path], output: Path) -> dict[str, Choice]:
    """The choice by the runs of these sweeps and those that `output` has kept, which then keeps
    them all; nothing where there are none."""
    file = output / FILE
    kept: dict[tuple[str, float, int], Reached] = {}
    if file.is_file():
        with reading(file, "aligngap study --workdir=SWEEP --rates=SWEEP --output=NEW"):
            listed = json_text.value(file.read_text("utf-8"))
            json_text.expect(listed, [FORM])
            kept = {run[:3]: run for run in (Reached(**x) for x in listed)}
    if folders:
        kept |= {run[:3]: run for run in read(folders)}
        lines = (json.dumps(kept[key]._asdict()) for key in sorted(kept))
        atomic.write(file, "[\n" + ",\n".join(lines) + "\n]\n")
    return choose([*kept.values()])


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


def _reached(folder: Path) -> Reached | None:
    """None where the last step's is not there."""
    if not (folder / "config.json").is_file():
        return None
    config = workdir.read_config(folder)
    found = last_with(folder, dict.fromkeys(DECIDES, NUMBER))
    if found is None or found["step"] != config.steps:
        return None
    value = float(np.mean([found[name] for name in DECIDES]))
    return Reached(str(config.name), float(config.optimizer.peak_lr), int(config.seed), value)


def last_with(folder: Path, metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The last record of a run's metrics.jsonl that has the first of these metrics; AligngapError
    where it has not all of them, or not of these forms."""
    with reading(folder / "metrics.jsonl", TRAIN) as path:
        lines = path.read_text("utf-8").splitlines(keepends=True)
        # A line without an end is being written.
        records = (json_text.value(line) for line in reversed(lines) if line.endswith("\n"))
        found = next((dict(x) for x in records if next(iter(metrics)) in x), None)
        if found is not None:
            json_text.expect(found, {"step": int, **metrics})
        return found


def _choice(rates: Mapping[float, Sequence[float]]) -> Choice:
    reached = {rate: float(np.mean(rates[rate])) for rate in sorted(rates)}
    return Choice(reached, max(reached, key=lambda rate: reached[rate]))
