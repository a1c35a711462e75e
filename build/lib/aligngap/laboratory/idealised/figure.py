"""The picture and the words of `aligngap gap idealised`."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from aligngap.laboratory.idealised.free_points import Flight
from aligngap.laboratory.idealised.training import Setting
from aligngap.laboratory.shared import sweep
from aligngap.laboratory.shared.result import style
from aligngap.laboratory.shared.two_sides import Curve
from aligngap.reporting.figures import RUN_MARKERS, run_colour


def draw(settings: Sequence[Setting], curves: Sequence[Curve]) -> Figure:
    """Loss and gap against steps, and the gap at the end against batch size."""
    with style():
        figure = Figure(figsize=(10.5, 3.2), layout="constrained")
        loss, distance, final = figure.subplots(1, 3)
        sweep.draw_curves(loss, distance, _groups(settings, curves))
        _draw_final(final, settings, curves)
    return figure


def _draw_final(axes: Axes, settings: Sequence[Setting], curves: Sequence[Curve]) -> None:
    for number, dimension in enumerate(sorted({s.dimension for s in settings})):
        ends: dict[int, list[float]] = {}
        for setting, curve in zip(settings, curves, strict=True):
            if setting.dimension == dimension:
                ends.setdefault(setting.batch, []).append(curve.centroid_distance[-1])
        batches = sorted(ends)
        means = [np.mean(ends[b]) for b in batches]
        spread = [
            [m - min(ends[b]) for m, b in zip(means, batches, strict=True)],
            [max(ends[b]) - m for m, b in zip(means, batches, strict=True)],
        ]
        marker = RUN_MARKERS[number % len(RUN_MARKERS)][0]
        colour = run_colour(number)
        axes.errorbar(
            batches, means, spread, marker=marker, color=colour, capsize=3, label=f"D {dimension}"
        )
    axes.set(xlabel="batch size", ylabel="distance at the end (range over seeds)", xscale="log")
    axes.set_xticks(sorted({s.batch for s in settings}), minor=False)
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_ylim(0, None)
    axes.legend(frameon=False)


def _groups(settings: Sequence[Setting], curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """The curves of each batch size and dimension, one a seed."""
    groups: dict[str, list[Curve]] = {}
    for setting, curve in zip(settings, curves, strict=True):
        groups.setdefault(f"batch {setting.batch}, D {setting.dimension}", []).append(curve)
    return groups


def summary(settings: Sequence[Setting], curves: Sequence[Curve], flight: Flight) -> str:
    """A line a setting, means over its seeds; then what the free points did."""
    return "\n".join([*_lines(settings, curves), _flown(flight)])


def _lines(settings: Sequence[Setting], curves: Sequence[Curve]) -> Iterator[str]:
    yield "setting                   gap before    after  separability    after     loss"
    for label, group in _groups(settings, curves).items():
        start, end = (np.mean([c.centroid_distance[i] for c in group]) for i in (0, -1))
        before, after = (np.mean([c.separability[i] for c in group]) for i in (0, 1))
        loss = np.mean([c.loss[-1] for c in group])
        yield f"{label:<24} {start:>11.3f} {end:>8.3f} {before:>13.2f} {after:>8.2f} {loss:>8.4f}"
    yield f"Means over seeds {sorted({setting.seed for setting in settings})}."


def _flown(flight: Flight) -> str:
    before, after = (flight.centroid_distance[i] for i in (0, -1))
    return (
        f"Free points in three dimensions, {flight.steps[-1]:,} steps: gap {before:.3f} before, "
        f"{after:.3f} after; loss {flight.loss[0]:.3f} before, {flight.loss[-1]:.3f} after."
    )
