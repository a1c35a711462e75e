"""Gap against quality: every method, its runs, and their spread."""

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aligngap.reporting.figures import PALETTE, STYLE
from aligngap.reporting.study_page import claims
from aligngap.reporting.study_page.measured import Measured
from aligngap.reporting.study_page.runs import LABELS, label

# Methods of one paper share a colour; within it, shapes tell them apart.
FAMILIES = {
    "ink": ("clip",),
    "run0": (
        *("sharedclip", "alignclip", "alignclip_both", "alignclip_unscaled"),
        "separation_untied",
    ),
    "run1": ("cua", "cuaxu", "cua_tied", "cuaxu_tied"),
    "run2": ("scheduled", "soft_swap"),
    "run3": ("cl_gap", "cauchy_schwarz"),
    "text": ("siglip", "siglip_relative"),
}
SHAPES = "o^sDvP*X"
DOTS = 144  # An inch.
GAPS = {
    "distance of the centroids": claims.GAP,
    "share of nearest neighbours of the same modality": claims.NEIGHBOURS,
}


def draw(measured: Measured, splits: Sequence[str]) -> bytes:
    """A PNG: a column a split, a row a measure of the gap; R@10, the mean of both directions, is
    what quality is. A cross spans the standard deviation over seeds, dots are runs."""
    white = {"figure.facecolor": "white", "axes.facecolor": "white"}
    with matplotlib.rc_context(STYLE | white):
        size = (3.5 * len(splits), 2.9 * len(GAPS) + 0.9)
        figure = Figure(figsize=size, layout="constrained", dpi=DOTS)
        axes = figure.subplots(len(GAPS), len(splits), squeeze=False, sharey="col")
        for row, (words, names) in zip(axes, GAPS.items(), strict=True):
            for each, split in zip(row, splits, strict=True):
                for method in measured.study.methods:
                    _point(each, measured, method, split, names)
                each.set(xlabel=words)
                each.locator_params(axis="x", nbins=5)
        for each, split in zip(axes[0], splits, strict=True):
            each.set_title(measured.study.title(split), fontsize=9, loc="left")
        for row in axes:
            row[0].set_ylabel("R@10, mean of both directions")
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", metadata={"Software": None})
    return drawn.getvalue()


def _point(axes: Axes, measured: Measured, method: str, split: str, names: tuple[str, ...]) -> None:
    x, y = (measured.values(method, split, each) for each in (names, claims.RETRIEVAL))
    if x is None or y is None:
        return
    colour, shape = _look(method)
    axes.plot(x, y, ".", color=colour, ms=3, alpha=0.45, zorder=2)
    spread = [np.std(side, ddof=1) if len(side) > 1 else 0.0 for side in (x, y)]
    axes.errorbar(
        *(x.mean(), y.mean(), spread[1], spread[0]), fmt=shape, color=colour, ms=6.5, lw=1,
        markeredgecolor="white", markeredgewidth=0.6, label=label(method), zorder=3,
    )  # fmt: skip


def _look(method: str) -> tuple[str, str]:
    for colour, members in FAMILIES.items():
        if method in members:
            return PALETTE[colour][0], SHAPES[members.index(method)]
    place = [*LABELS, method].index(method)
    return PALETTE["muted"][0], SHAPES[place % len(SHAPES)]
