"""A curve in the band of its intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from aligngap.reporting.figures import RUN_DASHES, run_colour


def draw_band(
    axes: Axes,
    places: Sequence[float],
    values: Sequence[Mapping[str, float]],
    number: int,
    label: str = "",
) -> None:
    """Each {"value", "low", "high"} at its place, in colour and dashes of that number."""
    y, low, high = (np.array([value[key] for value in values]) for key in ("value", "low", "high"))
    colour = run_colour(number)
    axes.plot(places, y, color=colour, ls=RUN_DASHES[number % len(RUN_DASHES)], label=label or None)
    axes.fill_between(places, low, high, color=colour, alpha=0.18, lw=0)
