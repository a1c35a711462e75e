"""Values with their intervals and chance: as a picture, as lines, as JSON."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from aligngap.gap import copies
from aligngap.intervals import Interval
from aligngap.laboratory.shared.result import style
from aligngap.reporting.figures import PALETTE, run_colour

Found = Mapping[str, Interval]


def draw(found: Found, label: str, title: str) -> Figure:
    """A line a value from the top down: a point, its interval, and a tick at chance."""
    with style():
        figure = Figure(figsize=(7.5, 0.9 + 0.24 * len(found)), layout="constrained")
        axes = figure.subplots()
        for place, each in enumerate(found.values()):
            axes.plot([each.low, each.high], [place, place], color=run_colour(0), lw=1.5)
            axes.plot(each.value, place, "o", color=run_colour(0), ms=4.5)
            if each.chance is not None:
                axes.plot([each.chance] * 2, [place - 0.3, place + 0.3], color=PALETTE["ink"][0],
                          lw=1)  # fmt: skip
        axes.set_yticks(range(len(found)), [name.replace("_", " ") for name in found])
        axes.invert_yaxis()
        axes.set_xlabel(label)
        axes.set_title(title, fontsize=9, loc="left")
    return figure


def lines(found: Found, copied: Mapping[str, int] | None = None) -> str:
    """Name, value, interval and chance of each; then how many rows are `copied`, if any."""
    width = max(map(len, found))
    said = [f"{name:<{width}}  {_words(each)}" for name, each in found.items()]
    if words := copies.said(copied or {}):
        said.append(f"{words}: equal rows count once")
    return "\n".join(said)


def _words(each: Interval) -> str:
    chance = "" if each.chance is None else f", chance {each.chance:.4f}"
    return f"{each.value:7.4f} [{each.low:.4f}, {each.high:.4f}]{chance}"
