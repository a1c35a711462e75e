"""The page's tables: what each run reached on each test split, as it is printed."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from aligngap.intervals import Interval
from aligngap.reporting import words
from aligngap.reporting.run_page import findings
from aligngap.reporting.run_page.runs import FOUND, ReportedRun, SplitValues
from aligngap.runs import board


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


def results(runs: Sequence[ReportedRun], split: str) -> dict[str, Any]:
    """One split's rows under their headings: the gap, retrieval, mixed search, then each further
    evaluator's."""
    found = [run.splits[split] for run in runs]
    before = any(one.gap_before for one in found)
    groups = [
        ("Gap after training, and before" if before else "Gap", _gap_rows(found)),
        (
            "Retrieval, % of queries",
            _share_rows([one.retrieval for one in found], findings.retrieval_name),
        ),
    ]
    groups.append(("Mixed search, %", _search_rows([one.search for one in found])))
    for name in all_keys(one.values for one in found):
        if name not in ("gap", "retrieval", "search"):
            groups += _further(name, [one.values.get(name, {}) for one in found])
    return {
        "title": found[0].title,
        "note": found[0].note or split,
        "sizes": f"{found[0].num_images:,} images, {found[0].num_captions:,} captions",
        "groups": [group for group in groups if group[1]],
    }


def overview(runs: Sequence[ReportedRun]) -> dict[str, Any] | None:
    """Where there are many runs, a row each of what the headline is made of."""
    if len(runs) <= findings.FEW:
        return None
    found = [next(iter(run.splits.values())) for run in runs]
    columns = [
        (words.MEASURES[words.GAP][0], [_cell(one.gap.get(words.GAP), 1, 3) for one in found])
    ]
    for metric in (FOUND, FOUND.replace("text", "image")):
        cells = [_cell(one.retrieval.get(metric), 100, 1) for one in found]
        columns.append((f"{findings.retrieval_name(metric)}, %", cells))
    known = [(name, cells) for name, cells in columns if any(cell != Cell("–") for cell in cells)]
    return {
        "headings": [name for name, _ in known],
        "rows": [list(row) for row in zip(*(cells for _, cells in known), strict=True)],
    }


# Of mixed search, whose values at every share are in evaluation.json: name → as a row says it.
SEARCHED = {
    "ndcg@10/p0": "NDCG@10, all items texts",
    "ndcg@10/p0.5": "NDCG@10, half of them images",
    "ndcg@10/p1": "NDCG@10, all items images",
    "fused/ndcg@10/a0.5": "NDCG@10, all items both, fused evenly",
    "images_among_first_10/p0.5": "images among the first ten, where half are",
}


def _search_rows(found: Sequence[dict[str, Interval]]) -> list[Row]:
    chosen = [{key: one[key] for key in SEARCHED if key in one} for one in found]
    return _share_rows(chosen, SEARCHED.__getitem__)


# Of ReportedRun.speed: (heading, how a value is printed).
SPEEDS: dict[str, tuple[str, Callable[[float], str]]] = {
    board.IMAGES: ("images/s", "{:,.0f}".format),
    board.MFU: ("MFU", lambda x: words.percent(x)),
    board.GOODPUT: ("time in steps", lambda x: words.percent(x, 0)),
}


def speeds(runs: Sequence[ReportedRun]) -> dict[str, list[str]]:
    """heading → a value a run, of what a clock said of at least one of them in training."""
    return {
        heading: [shown(run.speed[name]) if name in run.speed else "–" for run in runs]
        for name, (heading, shown) in SPEEDS.items()
        if any(name in run.speed for run in runs)
    }


def _further(evaluator: str, found: Sequence[dict[str, Interval]]) -> list[tuple[str, list[Row]]]:
    """An evaluator's rows, under a heading for all that has the same path above its name."""
    paths = dict.fromkeys(name.rpartition("/")[0] for name in all_keys(found))
    return [_below(evaluator, path, [_of_path(one, path) for one in found]) for path in paths]


def _of_path(found: dict[str, Interval], path: str) -> dict[str, Interval]:
    split = {name: name.rpartition("/") for name in found}
    return {split[name][2]: x for name, x in found.items() if split[name][0] == path}


def _below(
    evaluator: str, path: str, found: Sequence[dict[str, Interval]]
) -> tuple[str, list[Row]]:
    """Zero-shot accuracies as shares; of what is not known the numbers as they are."""
    if evaluator == "zero_shot":
        heading = f"Zero-shot classification by {path}, % of images"
        return heading, _share_rows(found, findings.accuracy_name)
    name = evaluator.replace("_", " ").capitalize()
    return f"{name}, {path}" if path else name, _plain_rows(found)


def _plain_rows(found: Sequence[dict[str, Interval]]) -> list[Row]:
    rows = []
    for metric in all_keys(found):
        numbers = [numbers.get(metric) for numbers in found]
        chances = [n.chance for n in numbers if n is not None and n.chance is not None]
        chance = words.decimal(chances[0], 3) if chances else ""
        cells = [_cell(n, 1, 3) for n in numbers]
        rows.append(Row(metric.replace("_", " "), "", chance, cells))
    return rows


def all_keys(tables: Iterable[dict[str, Any]]) -> list[str]:
    """The keys of all tables, in the order of their first appearance."""
    return list(dict.fromkeys(key for table in tables for key in table))


def _share_rows(found: Sequence[dict[str, Interval]], name: Callable[[str], str]) -> list[Row]:
    """Rows in percent. Chance is that of the test set, so the same for all runs."""
    rows = []
    for metric in all_keys(found):
        numbers = [numbers.get(metric) for numbers in found]
        chances = [n.chance for n in numbers if n is not None and n.chance is not None]
        chance = f"{100 * chances[0]:.1f}" if chances else ""
        rows.append(Row(name(metric), "", chance, [_cell(n, 100, 1) for n in numbers]))
    return rows


def _gap_rows(found: Sequence[SplitValues]) -> list[Row]:
    """The measures that the page can explain in its own order, then any others."""
    present = all_keys(one.gap for one in found)
    known = [name for name in words.MEASURES if name in present]
    rows = []
    for measure in dict.fromkeys([*known, *present]):
        name, hint = words.MEASURES.get(measure, (measure.replace("_", " "), ""))
        cells = [
            dataclasses.replace(
                _cell(one.gap.get(measure), 1, 3), before=_before(one.gap_before.get(measure))
            )
            for one in found
        ]
        rows.append(Row(name, hint, "", cells))
    return rows


def _before(number: Interval | None) -> str:
    return f"before {words.decimal(number.value, 3)}" if number else ""


def _cell(number: Interval | None, factor: float, digits: int) -> Cell:
    if number is None or not math.isfinite(number.value):
        return Cell("–")
    value, low, high = (
        words.decimal(factor * x, digits) for x in (number.value, number.low, number.high)
    )
    return Cell(value, f"{low} to {high}" if math.isfinite(number.low) else "")
