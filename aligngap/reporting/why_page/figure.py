"""Effects of the parts, what turning a knob does, and the pairs' own clouds."""

import io
from collections.abc import Iterator, Mapping

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aligngap.intervals import Interval
from aligngap.reporting import figures
from aligngap.reporting.figures import PALETTE, RUN_DASHES, STYLE, run_colour, run_marker
from aligngap.reporting.why_page.points import MEASURES, SCALE, Points, Series

DOTS = 144  # An inch.
ROWS = tuple(MEASURES)[:2]  # The gap, and quality.
KNOBS = {
    "scale": "logit scale 1/τ, fixed",
    "batch": "batch (as many images, where not said)",
    "size": "dimension of the embedding",
}
WHITE = {"figure.facecolor": "white", "axes.facecolor": "white"}
Effects = Mapping[str, Interval]


def draw(points: Points, effects: Mapping[float, Mapping[str, Effects]]) -> bytes:
    """A PNG: a row a measure; its effects by learning rate, then tied CUAXU's weights, then each
    knob."""
    columns = 2 + len(KNOBS)
    with matplotlib.rc_context(STYLE | WHITE):
        figure = Figure(
            figsize=(3.1 * columns, 2.7 * len(ROWS) + 0.6), layout="constrained", dpi=DOTS
        )
        axes = figure.subplots(len(ROWS), columns, squeeze=False)
        for row, measure in zip(axes, ROWS, strict=True):
            _effects(row[0], {rate: x.get(measure, {}) for rate, x in effects.items()})
            row[0].set_xlabel(f"effect on the {measure}")
            row[1].set_xscale("symlog", linthresh=0.25, base=2)
            _lines(row[1], points.weighed(), measure, "weight in tied CUAXU, the others 1")
            for each, (knob, words) in zip(row[2:], KNOBS.items(), strict=True):
                each.set_xscale("log", base=2)
                _lines(each, points.turned(knob), measure, words)
                if knob == "scale":
                    _learnt(each, points, measure)
            for each in row[1:]:
                each.set_ylabel(measure)
        for each in axes[0]:  # What a column shows is the same in both rows.
            if each.get_legend_handles_labels()[0]:
                each.legend(frameon=False, fontsize=7, loc="lower left", bbox_to_anchor=(0, 1))
        return _png(figure)


def clouds(found: Mapping[str, figures.Projected]) -> bytes:
    """A PNG: title → images and their texts, each in the plane of its own greatest variance, all on
    one scale."""
    half = figures.reach([*found.values()])
    with matplotlib.rc_context(STYLE | WHITE):
        figure = Figure(figsize=(3.3 * len(found), 3.5), layout="constrained", dpi=DOTS)
        row = figure.subplots(1, len(found), squeeze=False)[0]
        for each, (title, plane) in zip(row, found.items(), strict=True):
            figures.draw_cloud(each, plane, np.arange(len(plane.image)), half)
            each.set_title(title, fontsize=9, loc="left")
        return _png(figure)


def _effects(axes: Axes, by_rate: Mapping[float, Effects]) -> None:
    for number, (rate, found) in enumerate(by_rate.items()):
        own = {"color": run_colour(number), "marker": run_marker(number)[0], "markevery": [1]}
        beside = 0.3 * (number - (len(by_rate) - 1) / 2)
        for place, x in enumerate(found.values()):
            words = f"learning rate {rate:g}" if place == 0 else None
            ends = [x.low, x.value, x.high]
            axes.plot(ends, [place + beside] * 3, ms=4, lw=1.3, label=words, **own)  # type: ignore[arg-type]
        axes.set_yticks(range(len(found)), [*found])
    axes.axvline(0, color=PALETTE["muted"][0], lw=0.8)
    axes.invert_yaxis()
    axes.locator_params(axis="x", nbins=4)


def _lines(axes: Axes, series: Mapping[str, Series], measure: str, words: str) -> None:
    for number, (name, found) in enumerate(series.items()):
        colour = run_colour(number)
        drawn = [*_values(found, measure)]
        if not drawn:
            continue
        for x, values in drawn:
            axes.plot([x] * len(values), values, ".", color=colour, ms=3, alpha=0.5)
        xs, means = zip(*((x, values.mean()) for x, values in drawn), strict=True)
        axes.plot(
            xs, means, color=colour, marker=run_marker(number)[0], ms=4, lw=1.3, label=name,
            linestyle=RUN_DASHES[number % len(RUN_DASHES)],
        )  # fmt: skip
    tried = sorted({x for found in series.values() for x in found})
    axes.set_xticks(tried, [f"{x:g}" for x in tried])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(words)


def _learnt(axes: Axes, points: Points, measure: str) -> None:
    """Where the models end that learn their scale."""
    for number, name in enumerate(points.turned("scale")):
        model = points.model(name)
        if model is not None and measure in model.values:
            axes.plot(
                model.values[SCALE].mean(), model.values[measure].mean(), "*", ms=11,
                color=run_colour(number), markeredgecolor="white",
            )  # fmt: skip


def _values(found: Series, measure: str) -> Iterator[tuple[float, np.ndarray]]:
    for x, point in found.items():
        if measure in point.values:
            yield x, point.values[measure]


def _png(figure: Figure) -> bytes:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    return drawn.getvalue()
