"""`aligngap gap advise`: one self-contained HTML page with the advice and what it rests on."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from markupsafe import Markup

from aligngap.gap.streaming import sample
from aligngap.reporting import figures, template, words
from aligngap.reporting.figures import Comparison
from aligngap.reporting.panels import Panel

Pairs = tuple[Float[np.ndarray, "J D"], Float[np.ndarray, "J D"]]  # images, texts
SIZES = {
    "pairs_given": "pairs",
    "pairs_fitted": "pairs that transforms were fitted on",
    "pairs_judged": "pairs that they were judged by",
    "items_judged": "items of the mixed pool: one a distinct pair",
    "dimension": "dimensions",
    "seed": "seed of halves, sample and intervals",
}


class Picture(NamedTuple):
    """The judged rows before and after one of the methods."""

    method: str
    advised: bool  # For some task.
    before: Pairs
    after: Pairs

    @property
    def title(self) -> str:
        """What the rows afterwards are called."""
        return f"After {self.method}" + ("" if self.advised else " (not advised)")


def render(
    settings: Mapping[str, Any], found: Mapping[str, Any], picture: Picture, commands: Sequence[str]
) -> str:
    """The page, of what advise.json holds."""
    names = ["before", picture.method]
    content = {
        "advice": found["advice"],
        "commands": commands,
        "comparisons": found["comparisons"],
        "errors": words.decimal(found["errors_to_each_end"]),
        "tasks": [{**x, "chosen": found["use"][task]} for task, x in found["tasks"].items()],
        "before": [_leaf(each["before"]) for each in found["tasks"].values()],
        "rows": [_row(method, about, found) for method, about in found["methods"].items()],
        "left_out": found["left_out"],
        "gains": [_gains(task, found) for task in found["tasks"]],
        "search": _search([found["search"][name] for name in names], names),
        "series": [
            {"name": name, "colour": figures.RUN_COLOURS[n], "mark": figures.run_marker(n)[1]}
            for n, name in enumerate(names)
        ],
        "asked": bool(settings["query"]),
        "maps": [_map(picture.before, "Before"), _map(picture.after, picture.title)],
        "points": f"{min(figures.MAX_POINTS, len(picture.before[0])):,}",
        "files": {n: settings[n] for n in ("image", "text", "query", "labels") if settings[n]},
        "sizes": [(what, f"{settings[name]:,}") for name, what in SIZES.items()],
        "copies": {name: f"{count:,}" for name, count in settings["copies_judged"].items()},
        "as_good": {
            found["tasks"][task]["title"]: methods
            for task, methods in found["as_good"].items()
            if len(methods) > 1
        },
    }
    return template.render("advice_page/page.html.j2", content)


def _row(method: str, about: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """A line of the table."""
    cells = []
    for task, given in found["tasks"].items():
        gain = about["gains"].get(task)
        cells.append(
            gain
            and {
                "after": words.decimal(given["before"]["value"] + gain["value"], 3),
                "gain": signed(gain["value"]),
                "ends": f"{signed(gain['low'])} to {signed(gain['high'])}",
                "verdict": "gain" if gain["low"] > 0 else "loss" if gain["high"] < 0 else "",
                "chosen": found["use"][task] == method,
            }
        )
    return {"method": method, "rows": f"{min(about['fitted_rows'].values()):,}", "cells": cells}


def _leaf(value: Mapping[str, float]) -> dict[str, str]:
    return {name: words.decimal(x, 3) for name, x in value.items()}


def signed(value: float) -> str:
    """+0.018."""
    return ("+" if value > 0 else "") + words.decimal(value, 3)


def _gains(task: str, found: Mapping[str, Any]) -> Panel:
    """A point and its interval for each method."""
    given = found["tasks"][task]
    rows = [
        Comparison(method.replace("_", " "), None, [(x["value"], x["low"], x["high"])])
        for method, about in found["methods"].items()
        if (x := about["gains"].get(task))
    ]
    alt = f"Gains in {given['title']} of each method with intervals; the numbers are in the table"
    return Panel(Markup(figures.differences(rows)), given["title"], given["measure"], alt)


def _search(curves: Sequence[Sequence[Mapping[str, float]]], names: Sequence[str]) -> Panel:
    """Before and after, against the share of images."""
    keys = ("image_share", "value", "low", "high")
    series = [[(x[keys[0]], x[keys[1]], x[keys[2]], x[keys[3]]) for x in curve] for curve in curves]
    svg = figures.bands(series, curves[0][0]["chance"], ("share of images", "NDCG@10"))
    half = [words.decimal(curve[len(curve) // 2]["value"], 3) for curve in curves]
    note = "at p = 0.5: " + ", ".join(f"{n} {x}" for n, x in zip(names, half, strict=True))
    return Panel(Markup(svg), "NDCG@10 against the share p", note, f"Mixed search; {note}")


def _map(pairs: Pairs, title: str) -> Panel:
    """Both clouds in their own principal plane."""
    rows = sample(len(pairs[0]), figures.MAX_POINTS, figures.SEED)
    image, text = (x[rows].astype(np.float64) for x in pairs)
    projected = figures.project(image, text, np.arange(len(rows)))
    svg = figures.cloud(projected, np.arange(len(rows)), figures.reach([projected]))
    apart = float(np.linalg.norm(pairs[0].mean(axis=0) - pairs[1].mean(axis=0)))
    note = f"gap {words.decimal(apart)}"
    alt = f"Images and captions in their first two principal components, {title}; {note}"
    return Panel(Markup(svg), title, note, alt)
