"""`aligngap study why`: README.md and its pictures, of whatever runs are there by now."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from aligngap import atomic
from aligngap.errors import AligngapError
from aligngap.intervals import Interval
from aligngap.reporting import template
from aligngap.reporting.figures import Projected
from aligngap.reporting.study_page import records, runs, tables
from aligngap.reporting.study_page.measured import Measured
from aligngap.reporting.study_page.records import Wanted
from aligngap.reporting.why_page import effects, figure, points
from aligngap.reporting.why_page.points import MEASURES, PARTS, SCALE, SPLIT, Point, Points
from aligngap.reporting.words import signed

PAGE, PICTURE, CLOUDS = "README.md", "why.png", "why_clouds.png"
COLUMNS = (*MEASURES, SCALE)
QUALITY = [*MEASURES][1]
CORNERS = {  # Which of PARTS are there.
    "CLIP": (False, False, False, False),
    "SharedCLIP": (True, False, False, False),
    "CUAXU": (False, True, True, True),
    "tied CUAXU": (True, True, True, True),
}
KNOBS = {  # A title, and what the values are.
    "scale": ("Temperature", "1/τ"),
    "batch": ("Batch", "batch"),
    "size": ("Dimension of the embedding", "dimension"),
}


def build(workdirs: Sequence[Path], output: Path) -> str:
    """Writes the page and its pictures into `output`, beside what it keeps of these and of earlier
    runs. Returns the effects, a line each."""
    study = runs.gather(workdirs, output, Wanted(plane=SPLIT))
    if SPLIT not in study.splits:
        raise AligngapError(f"these runs are not evaluated on {SPLIT}: run `aligngap evaluate`")
    measured = Measured(study)
    found = points.read(measured)
    records.save(output, study.runs)
    by_rate = {rate: x for rate in found.rates if (x := _effects(found.cells(rate)))}
    content = {
        "cells": _cells(found),
        "changes": _changes(found),
        "effects": {f"{rate:g}": _table(x) for rate, x in by_rate.items()},
        "weights": {name: _series(name, x) for name, x in found.weighed().items() if x},
        "knobs": {
            title: _turned(found, knob) for knob, (title, _) in KNOBS.items() if found.turned(knob)
        },
        "seeds": sorted({len(each) for each in study.methods.values()}),
        "own": {name: f"{knobs.rate:g}" for name, knobs in found.own.items()},
        "picture": PICTURE,
        "clouds": CLOUDS,
        "steps": found.steps,
    }
    drawn, clouds = figure.draw(found, by_rate), figure.clouds(_corners(study, found))
    page = template.markdown("why_page/why.md.j2", content)
    atomic.write(output / PICTURE, drawn)
    atomic.write(output / CLOUDS, clouds)
    atomic.write(output / PAGE, page)
    return "\n".join(line for rate, x in by_rate.items() for line in _lines(rate, x))


def _effects(cells: Mapping[effects.Cell, Point]) -> dict[str, dict[str, Interval]]:
    """Measure → part, or two of them → effect."""
    named = [*PARTS]
    return {
        measure: {
            " × ".join(named[part] for part in which): x
            for which, x in effects.effects(values).items()
        }
        for measure, values in _by_cell(cells).items()
    }


def _changes(found: Points) -> str:
    """CLIP with one part more, tied CUAXU with one less, each at its own learning rate; empty
    where combinations of parts are missing there."""
    rows = []
    for (model, weights), sign in zip(points.MODELS.items(), "+−", strict=True):
        cells = found.cells(found.own[model].rate) if model in found.own else {}
        base = tuple(map(bool, weights))
        by_measure = {x: effects.changes(values, base) for x, values in _by_cell(cells).items()}
        for part, name in enumerate(PARTS if by_measure else ()):
            own = (by_measure.get(measure) for measure in COLUMNS)
            changed = (tables.NONE if x is None else _effect(x[part]) for x in own)
            rows.append([f"{model} {sign} {name}", *changed])
    return tables.markdown(["", *COLUMNS], rows) if rows else ""


def _by_cell(
    cells: Mapping[effects.Cell, Point],
) -> dict[str, dict[effects.Cell, Float[np.ndarray, "S"]]]:
    """Measure → values of each combination; nothing of a measure that one lacks, nothing at all
    where one is missing."""
    if len(cells) < 2 ** len(PARTS):
        return {}
    return {
        measure: {cell: point.values[measure] for cell, point in cells.items()}
        for measure in COLUMNS
        if all(measure in point.values for point in cells.values())
    }


def _table(by_measure: Mapping[str, Mapping[str, Interval]]) -> str:
    """Effects as rows."""
    rows = [
        [name, *(_effect(found[name]) for found in by_measure.values())]
        for name in next(iter(by_measure.values()))
    ]
    return tables.markdown(["effect of", *by_measure], rows)


def _effect(x: Interval) -> str:
    """In bold where the interval leaves 0 out."""
    apart = "**" if x.low > 0 or x.high < 0 else ""
    return f"{apart}{_said(x)}{apart}"


def _said(x: Interval) -> str:
    return signed(x.value) if np.isnan(x.low) else tables.interval(x)


def _cells(found: Points) -> str:
    """All combinations of parts, from none to all four."""
    rows = [
        [*("yes" if part else "" for part in cell), f"{rate:g}", *_values(point)]
        for cell, rate, point in sorted(
            ((cell, rate, x) for rate in found.rates for cell, x in found.cells(rate).items()),
            key=lambda each: each[:2],
        )
    ]
    return tables.markdown([*PARTS, "learning rate", *COLUMNS], rows, len(PARTS))


def _series(name: str, series: Mapping[float, Point]) -> str:
    rows = [[f"{x:g}", *_values(point)] for x, point in series.items()]
    return tables.markdown([f"weight of {name}", *COLUMNS], rows)


def _turned(found: Points, knob: str) -> str:
    by_batch = knob == "batch"  # Which decides how many steps there are.
    rows = [
        [model, f"{x:g}", *([f"{point.steps:,}"] if by_batch else []), *_values(point)]
        for model, series in found.turned(knob).items()
        for x, point in series.items()
    ]
    if knob == "scale":
        learnt = {name: found.model(name) for name in points.MODELS}
        rows += [[name, "learnt", *_values(x)] for name, x in learnt.items() if x is not None]
    heads = ["", KNOBS[knob][1], *(["steps"] if by_batch else [])]
    return tables.markdown([*heads, *COLUMNS], rows)


def _values(point: Point) -> Iterable[str]:
    digits = {**dict.fromkeys(COLUMNS, 3), SCALE: 1}
    digits |= dict.fromkeys((name for name in COLUMNS if name.startswith("effective")), 1)
    return (tables.said(point.values.get(name), digits[name]) for name in COLUMNS)


def _corners(study: runs.Study, found: Points) -> dict[str, Projected]:
    """The validation pairs of the first run of each corner that is there, at the learning rate at
    which it finds more."""
    planes = {}
    for title, cell in CORNERS.items():
        there = [found.cells(rate)[cell] for rate in found.rates if cell in found.cells(rate)]
        there = [x for x in there if QUALITY in x.values]
        if there:
            best = max(there, key=lambda x: float(x.values[QUALITY].mean()))
            own = study.methods[best.method][0].arrays
            planes[f"{title}, {best.knobs.rate:g}"] = Projected(
                own["plane_image"], own["plane_text"], tuple(own["plane_shares"].tolist())
            )
    return planes


def _lines(rate: float, by_measure: Mapping[str, Mapping[str, Interval]]) -> list[str]:
    return [
        f"{rate:<6g}  {measure:<32}  {name:<30}  {_said(x)}"
        for measure, found in by_measure.items()
        for name, x in found.items()
    ]
