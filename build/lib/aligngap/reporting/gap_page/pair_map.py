"""The map of pairs that readers hover over: BokehJS, inlined, and what the page's script shows.

Bokeh, for its script has a quarter of plotly's bytes, evaluates no strings in what is used here
(so that the page may forbid it), and takes tooltips that are made of nodes, not of markup.
"""

import base64
import dataclasses
import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from bokeh.core.types import ID
from bokeh.embed import json_item
from bokeh.models import (
    BoxZoomTool,
    CategoricalColorMapper,
    ColumnDataSource,
    DataRange1d,
    HoverTool,
    LogColorMapper,
    PanTool,
    ResetTool,
    WheelZoomTool,
)
from bokeh.plotting import figure
from bokeh.resources import Resources
from markupsafe import Markup
from matplotlib.colors import to_hex

from aligngap.gap.files import Measured
from aligngap.reporting import figures
from aligngap.reporting.figures import Plane, Projected

COLOURINGS = {"modality": "modality", "label": "label", "rank": "retrieval rank"}
OTHER = "other"
# (light, dark) of the most frequent labels; the others are grey. Found by search: at least 3:1
# against the page, and as far apart as can be with normal, protan, deutan and tritan vision.
LABELS = (
    ("#529bcc", "#33adff"),
    ("#ff5c33", "#ffc299"),
    ("#681f99", "#cc29ab"),
    ("#b2886b", "#995c68"),
    ("#99371f", "#e62e2e"),
    ("#d633ff", "#33ff33"),
    ("#4c1f1f", "#5c5ce6"),
)
STEPS = 12  # colours of the rank scale
# matplotlib's viridis without its end that the page's own colour would swallow; rank 1 stands out.
SCALE_ENDS = {"light": (0.0, 0.78), "dark": (1.0, 0.28)}
# (Bokeh's name, pixels, turned by): its own diamond is too thin to take a colour.
MARKERS = {"image": ("circle", 7.0, 0.0), "text": ("square", 5.5, math.pi / 4)}
DIRECTIONS = {"image": "image_to_text", "text": "text_to_image"}


@dataclasses.dataclass(frozen=True)
class Script:
    """JavaScript of the page; the policy allows what has its hash, and nothing else."""

    code: Markup
    hash: str  # as Content-Security-Policy writes it


def content(found: Measured, plane: Plane) -> dict[str, Any]:
    """What pair_map.html.j2 shows."""
    shown = found.examples
    image, text = (rows[shown.places] for rows in (found.image, found.text))
    labels = _frequent(found)
    worst = max(2.0, *(float(found.ranks[d][shown.places].max()) for d in DIRECTIONS.values()))
    plot = _plot(found, plane.project(image, text), labels, worst)
    return {
        "shown": f"{len(shown.rows):,}",
        "colourings": {k: v for k, v in COLOURINGS.items() if k != "label" or labels},
        "labels": labels + ([OTHER] if len(labels) < len(found.labels) else []),
        "label_colours": len(labels),
        "colours": dict(_colours()),
        "steps": STEPS,
        "ticks": _ticks(worst),
        "ranked": f"{len(found.image):,}",
        "data": {"plot": json_item(plot, ID("map")), "pairs": _pairs(found)},
        "has": {"captions": shown.captions is not None, "pictures": shown.pictures is not None},
    }


def scripts() -> dict[str, Script]:
    """BokehJS, and what shows the map with it."""
    library = Resources(mode="inline", components=["bokeh"]).js_raw[0]
    own = (Path(__file__).parent / "pair_map.js").read_text("utf-8")
    return {"library": _script(library), "own": _script(own)}


def _script(code: str) -> Script:
    """An HTML parser reads CRLF as LF: the hash is that of what it reads."""
    code = code.replace("\r\n", "\n")
    assert "</script" not in code.lower() and "<!--" not in code, "it would end its element"
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    return Script(Markup(code), f"'sha256-{digest}'")


def _plot(found: Measured, where: Projected, labels: list[str], worst: float) -> figure:
    """A layer of points for each colouring, of which the page's script shows one at a time."""
    x, y = (DataRange1d(range_padding=0.06) for _ in range(2))
    plot = figure(
        x_range=x, y_range=y, match_aspect=True, tools=[], toolbar_location="above",
        sizing_mode="stretch_width", height=560, background_fill_color=None,
        border_fill_color=None, outline_line_color=None, name="plot",
    )  # fmt: skip
    plot.toolbar.logo = None  # it is a link to a site
    plot.xaxis.axis_label, plot.yaxis.axis_label = figures.axis_titles(where.shares)
    # Under the points; the page's script fills it.
    pair = ColumnDataSource({"x": [], "y": []}, name="pair")
    plot.line("x", "y", source=pair, line_width=2, name="line")
    points = ColumnDataSource(_points(found, where, labels))
    layers = [_layer(plot, points, *item) for item in _mappers(labels, worst).items()]
    plot.scatter(
        "x", "y", source=pair, marker="circle", size=14, fill_color=None, line_width=2, name="ring"
    )
    x.renderers = y.renderers = [layers[0]]
    # No tool takes a drag or the wheel by itself: on a small screen they scroll the page.
    plot.add_tools(PanTool(), BoxZoomTool(match_aspect=True), WheelZoomTool(), ResetTool())
    plot.add_tools(_hover(layers, where))
    plot.toolbar.active_drag = plot.toolbar.active_scroll = None
    return plot


def _layer(plot: figure, points: ColumnDataSource, name: str, mapper: Any) -> Any:
    return plot.scatter(
        "x", "y", source=points, name=name, visible=name == "modality", hit_dilation=1.5,
        marker="marker", size="size", angle="angle", line_width=0, fill_alpha=0.75,
        fill_color={"field": name, "transform": mapper},
    )  # fmt: skip


def _hover(layers: list[Any], where: Projected) -> HoverTool:
    """Its tooltip stands where it hides least of the lines to the other halves of pairs."""
    across, along = np.abs(where.text - where.image).mean(axis=0)
    return HoverTool(
        renderers=layers, tooltips=None, show_arrow=False, visible=False, name="hover",
        attachment="vertical" if across > along else "horizontal",
    )  # fmt: skip


def _points(found: Measured, where: Projected, labels: list[str]) -> dict[str, Any]:
    """Columns of 2K points, all images before all captions: pair i is points i and K + i."""
    places = found.examples.places
    both = np.concatenate([where.image, where.text]).astype(np.float32)
    markers, sizes, angles = zip(*MARKERS.values(), strict=True)
    modal = {"modality": list(MARKERS), "marker": markers, "size": sizes, "angle": angles}
    columns = {
        "x": both[:, 0],
        "y": both[:, 1],
        "rank": np.concatenate([found.ranks[d][places] for d in DIRECTIONS.values()]),
        **{name: np.repeat(two, len(places)).tolist() for name, two in modal.items()},
    }
    if not labels:
        return columns
    number = {label: str(i) for i, label in enumerate(labels)}
    return columns | {"label": [number.get(found.label[i], OTHER) for i in places] * 2}


def _mappers(labels: list[str], worst: float) -> dict[str, Any]:
    """Colours come from the page's style, which knows light from dark."""
    found: dict[str, Any] = {"modality": _categories(list(MARKERS))}
    if labels:
        found["label"] = _categories([*map(str, range(len(labels))), OTHER])
    rank = LogColorMapper(low=1, high=worst, palette=["#808080"] * STEPS, name="rank colours")
    return found | {"rank": rank}


def _categories(factors: list[str]) -> CategoricalColorMapper:
    return CategoricalColorMapper(factors=factors, palette=["#808080"] * len(factors))


def _pairs(found: Measured) -> dict[str, Any]:
    """What a tooltip says of each pair."""
    shown = found.examples
    return {
        "row": shown.rows.tolist(),
        "label": [found.label[i] for i in shown.places] if found.label else None,
        "caption": shown.captions,
        "picture": [base64.b64encode(x).decode() for x in shown.pictures]
        if shown.pictures is not None
        else None,
        **{d: found.ranks[d][shown.places].tolist() for d in DIRECTIONS.values()},
    }


def _frequent(found: Measured) -> list[str]:
    """The labels with the most pairs, as many as there are colours."""
    most = sorted(found.labels, key=lambda label: -found.labels[label]["pairs"])
    return most[: len(LABELS)]


def _colours() -> Iterator[tuple[str, tuple[str, str]]]:
    """CSS variables: (light, dark)."""
    for number, pair in enumerate(LABELS):
        yield f"label{number}", pair
    scales = (_scale(*ends) for ends in SCALE_ENDS.values())
    for step, (light, dark) in enumerate(zip(*scales, strict=True)):
        yield f"step{step}", (light, dark)


def _scale(first: float, last: float) -> list[str]:
    colours = matplotlib.colormaps["viridis"](np.linspace(first, last, STEPS))
    return [to_hex(colour) for colour in colours]


def _ticks(worst: float) -> list[tuple[str, float]]:
    """(rank, percent of the way) of the powers of ten, and of the worst rank where it has room."""
    powers = [10**k for k in range(int(math.log10(worst)) + 1)]
    places = [100 * math.log(rank) / math.log(worst) for rank in powers]
    ticks = [(f"{rank:,}", place) for rank, place in zip(powers, places, strict=True) if place < 90]
    return [*ticks, (f"{worst:,.0f}", 100.0)]
