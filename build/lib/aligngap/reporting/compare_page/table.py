"""What methods reached beside each other: means over seeds, differences with paired intervals."""

import fnmatch
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from aligngap.errors import UsageError
from aligngap.evaluation import evaluator
from aligngap.evaluation.gap import SEED
from aligngap.intervals import Interval
from aligngap.reporting.compare_page.methods import Evaluated, Method
from aligngap.tasks.intervals import Scores, difference


@dataclass(frozen=True)
class Reached:
    """A method's mean over runs, and their standard deviation where there are several."""

    mean: float
    spread: float | None
    runs: int


@dataclass(frozen=True)
class Row:
    """One value: of each method, and how much higher each further method is than the first (an
    interval where items were kept, else ends that are nan)."""

    evaluator: str
    name: str
    reached: tuple[Reached | None, ...]
    differences: tuple[Interval | None, ...]
    chance: float | None

    @property
    def paired(self) -> bool:
        """Whether items were compared one by one."""
        return any(x is not None and math.isfinite(x.low) for x in self.differences)


def rows(methods: Sequence[Method], split: str) -> list[Row]:
    """Every value that at least one run has of a split."""
    first = dict.fromkeys(
        (name, key)
        for method in methods
        for run in method.runs
        for name, values in run.splits[split].values.items()
        for key in values
    )
    return [_row(methods, split, name, key) for name, key in first]


def _row(methods: Sequence[Method], split: str, name: str, key: str) -> Row:
    found = [[_value(run, split, name, key) for run in method.runs] for method in methods]
    reached = tuple(_reached(values) for values in found)
    scores = [[run.scores(split, name, key) for run in method.runs] for method in methods]
    apart = tuple(
        _difference(reached[i], reached[0], scores[i], scores[0]) for i in range(1, len(methods))
    )
    known = (run.splits[split].values.get(name, {}).get(key) for m in methods for run in m.runs)
    chance = next((one.chance for one in known if one is not None), None)
    return Row(name, key, reached, apart, chance)


def _value(run: Evaluated, split: str, name: str, key: str) -> float | None:
    found = run.splits[split].values.get(name, {}).get(key)
    return None if found is None else found.value


def _reached(values: Sequence[float | None]) -> Reached | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):  # A mean over some of the seeds is that of another method.
        return None
    spread = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return Reached(float(np.mean(known)), spread, len(known))


def _difference(
    one: Reached | None,
    other: Reached | None,
    scores: Sequence[Scores | None],
    others: Sequence[Scores | None],
) -> Interval | None:
    if one is None or other is None:
        return None
    kept = [[each for each in side if each is not None] for side in (scores, others)]
    if len(kept[0]) < len(scores) or len(kept[1]) < len(others):
        return Interval(one.mean - other.mean, math.nan, math.nan)
    return difference(kept[0], kept[1], SEED)


def lines(methods: Sequence[Method], tables: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """What is printed: of each split the values that `aligngap evaluate` prints."""
    printed = _printed(methods[0].runs[0].evaluators)
    shown = {
        split: [
            row
            for row in rows
            if any(fnmatch.fnmatch(row.name, p) for p in printed.get(row.evaluator, ("*",)))
        ]
        for split, rows in tables.items()
    }
    yield "mean over seeds ± their standard deviation; difference [95 % paired interval]"
    heads = [chr(ord("A") + number) for number in range(len(methods))]
    for head, method in zip(heads, methods, strict=True):
        yield f"{head}  {method.label}: {', '.join(str(run.workdir) for run in method.runs)}"
    names = [*shown, *(_name(row) for rows in shown.values() for row in rows)]
    width = max(map(len, names)) + 2
    for split, rows in shown.items():
        yield _line(split, width, heads, [f"{head} − {heads[0]}" for head in heads[1:]])
        for row in rows:
            apart = map(said_difference, row.differences)
            yield _line(_name(row), width, map(said, row.reached), apart)


def _name(row: Row) -> str:
    return f"  {row.evaluator}/{row.name}"


def _line(name: str, width: int, values: Iterable[str], differences: Iterable[str]) -> str:
    cells = [*(f"{x:<16}" for x in values), *(f"{x:<26}" for x in differences)]
    return f"{name:<{width}}{''.join(cells)}".rstrip()


def said(found: Reached | None) -> str:
    """0.213 ± 0.004."""
    if found is None:
        return "–"
    return f"{found.mean:.3f}" + ("" if found.spread is None else f" ± {found.spread:.3f}")


def said_difference(found: Interval | None) -> str:
    """+0.018 [+0.004, +0.031]."""
    if found is None:
        return "–"
    ends = f" [{found.low:+.3f}, {found.high:+.3f}]" if math.isfinite(found.low) else ""
    return f"{found.value:+.3f}{ends}"


def _printed(entries: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Evaluator → patterns of what it prints; all of one whose class is not here."""
    found = {}
    for name, entry in entries.items():
        try:
            found[name] = evaluator.find(name, ConfigDict(dict(entry))).PRINTED
        except UsageError:
            continue
    return found
