"""The page's tables: what each run reached on each test split, as it is printed."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from aligngap.reporting import findings
from aligngap.reporting.runs import Number, Run, Split


@dataclasses.dataclass(frozen=True)
class Cell:
    """One number of a table as it is printed: value, interval, and what it was before training."""

    value: str
    interval: str = ""
    before: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """One metric: its name, how to read it, chance, and a cell a run."""

    name: str
    hint: str
    chance: str
    cells: list[Cell]


def results(runs: Sequence[Run], split: str) -> dict[str, Any]:
    """One split's rows under their headings: the gap, retrieval, each zero-shot label set."""
    found = [run.splits[split] for run in runs]
    groups = [
        ("Gap after training, and before", _gap_rows(found)),
        (
            "Retrieval, % of queries",
            _share_rows([one.retrieval for one in found], findings.retrieval_name),
        ),
    ]
    for labels in all_keys(one.zero_shot for one in found):
        rows = _share_rows([one.zero_shot.get(labels, {}) for one in found], findings.accuracy_name)
        groups.append((f"Zero-shot classification by {labels}, % of images", rows))
    return {
        "title": findings.split_title(split),
        "note": findings.SPLITS[split][1] if split in findings.SPLITS else split,
        "sizes": f"{found[0].num_images:,} images, {found[0].num_captions:,} captions",
        "groups": [group for group in groups if group[1]],
    }


def all_keys(tables: Iterable[dict[str, Any]]) -> list[str]:
    """The keys of all tables, in the order of their first appearance."""
    return list(dict.fromkeys(key for table in tables for key in table))


def _share_rows(found: Sequence[dict[str, Number]], name: Callable[[str], str]) -> list[Row]:
    """Rows in percent. Chance is that of the test set, so the same for all runs."""
    rows = []
    for metric in all_keys(found):
        numbers = [numbers.get(metric) for numbers in found]
        chances = [n.chance for n in numbers if n is not None and n.chance is not None]
        chance = f"{100 * chances[0]:.1f}" if chances else ""
        rows.append(Row(name(metric), "", chance, [_cell(n, 100, 1) for n in numbers]))
    return rows


def _gap_rows(found: Sequence[Split]) -> list[Row]:
    """The measures that the page can explain in its own order, then any others."""
    present = all_keys(one.gap for one in found)
    known = [name for name in findings.MEASURES if name in present]
    rows = []
    for measure in dict.fromkeys([*known, *present]):
        name, hint = findings.MEASURES.get(measure, (measure.replace("_", " "), ""))
        cells = [
            dataclasses.replace(
                _cell(one.gap.get(measure), 1, 3), before=_before(one.initial_gap.get(measure))
            )
            for one in found
        ]
        rows.append(Row(name, hint, "", cells))
    return rows


def _before(number: Number | None) -> str:
    return f"before {findings.decimal(number.value, 3)}" if number else ""


def _cell(number: Number | None, factor: float, digits: int) -> Cell:
    if number is None or not math.isfinite(number.value):
        return Cell("–")
    value, low, high = (
        findings.decimal(factor * x, digits) for x in (number.value, number.low, number.high)
    )
    return Cell(value, f"{low} to {high}")
