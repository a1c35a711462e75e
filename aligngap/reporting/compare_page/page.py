"""`aligngap evaluate --compare`: runs and seeds beside each other, as a table, JSON and a page."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from aligngap import atomic
from aligngap.errors import UsageError
from aligngap.intervals import Interval
from aligngap.reporting import figures, template
from aligngap.reporting.compare_page import methods, table
from aligngap.reporting.compare_page.methods import Method
from aligngap.reporting.compare_page.table import Row
from aligngap.reporting.panels import Panel


def compare(workdirs: Sequence[Path], output: Path | None) -> str:
    """The table; with `output` also OUTPUT/comparison.json and OUTPUT/report.html."""
    if len(workdirs) < 2:
        raise UsageError("--compare needs at least two runs: --workdir=RUN --workdir=RUN ...")
    runs = methods.read(workdirs)
    found = methods.methods(runs)
    tables = {split: table.rows(found, split) for split in runs[0].splits}
    if output is not None:
        atomic.write_json(output / "comparison.json", _json(found, tables))
        page = template.render("compare_page/page.html.j2", _content(found, tables))
        atomic.write(output / "report.html", page)
    return "\n".join(table.lines(found, tables))


def _json(found: Sequence[Method], tables: dict[str, list[Row]]) -> dict[str, Any]:
    """{"methods": [...], "splits": {split: {evaluator: {name: {"values", "differences"}}}}}"""
    splits: dict[str, Any] = {}
    for split, rows in tables.items():
        for row in rows:
            values = [
                None if x is None else {"mean": x.mean, "spread": x.spread, "runs": x.runs}
                for x in row.reached
            ]
            apart = [None if x is None else _leaf(x) for x in row.differences]
            own = splits.setdefault(split, {}).setdefault(row.evaluator, {})
            own[row.name] = {"values": values, "differences": apart}
    about = [
        {
            "label": method.label,
            "workdirs": [str(run.workdir) for run in method.runs],
            "seeds": [run.config.get("seed") for run in method.runs],
        }
        for method in found
    ]
    return {"methods": about, "splits": splits}


def _leaf(found: Interval) -> dict[str, float]:
    return {name: x for name, x in found.as_json().items() if math.isfinite(x)}


def _content(found: Sequence[Method], tables: dict[str, list[Row]]) -> dict[str, Any]:
    splits = found[0].runs[0].splits
    return {
        "methods": [_legend(number, method) for number, method in enumerate(found)],
        "tables": [
            {
                "title": splits[split].title,
                "note": splits[split].note or split,
                "sizes": f"{splits[split].num_images:,} images, "
                f"{splits[split].num_captions:,} captions",
                "panel": _panel(found, splits[split].title, rows),
                "groups": _groups(rows),
            }
            for split, rows in tables.items()
        ],
    }


def _legend(number: int, method: Method) -> dict[str, Any]:
    return {
        "label": method.label,
        "colour": figures.RUN_COLOURS[number % len(figures.RUN_COLOURS)],
        "mark": figures.run_marker(number)[1],
        "seeds": ", ".join(str(run.config.get("seed", "not recorded")) for run in method.runs),
        "workdirs": ", ".join(str(run.workdir) for run in method.runs),
        "step": f"{method.runs[0].step:,}",
    }


def _groups(rows: Sequence[Row]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The rows of each evaluator, under its name."""
    names = dict.fromkeys(row.evaluator for row in rows)
    return [(name, [_printed(row) for row in rows if row.evaluator == name]) for name in names]


def _printed(row: Row) -> dict[str, Any]:
    return {
        "name": row.name.replace("_", " "),
        "values": [table.said(x) for x in row.reached],
        "differences": [table.said_difference(x) for x in row.differences],
        "chance": "" if row.chance is None else f"{row.chance:.4f}",
    }


def _panel(found: Sequence[Method], title: str, rows: Sequence[Row]) -> Panel | None:
    """The differences of items compared one by one; None where none were kept."""
    drawn = [
        figures.Comparison(
            f"{row.evaluator}: {row.name.replace('_', ' ')}",
            None,
            [(x.value, x.low, x.high) for x in row.differences if x is not None],
        )
        for row in rows
        if row.paired and all(x is not None for x in row.differences)
    ]
    if not drawn:
        return None
    alt = f"Differences to {found[0].label} on {title}; the numbers are in the table"
    return Panel(Markup(figures.differences(drawn)), f"{title}: against {found[0].label}", "", alt)
