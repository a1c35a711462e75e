"""The page's pictures, each an inline SVG whose colours follow the reader's light or dark theme.

A panel is drawn alone, so that a narrow screen can stack what a wide one sets side by side.
"""

import dataclasses
import io
import re
import zlib
from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from aligngap.gap.streaming import sample

# name: (light, dark). Hues of Okabe & Ito and of Tol, told apart with any colour vision; shapes
# and dashes say the same again. A figure is drawn in the light ones, which become CSS variables.
PALETTE = {
    "ink": ("#1b1f24", "#e9ebee"),
    "muted": ("#5c6670", "#a3adb8"),
    "rule": ("#d9dee3", "#383f47"),
    "image": ("#0072b2", "#56b4e9"),
    "text": ("#d55e00", "#f0a030"),
    "run0": ("#882255", "#e58fb9"),
    "run1": ("#1b8577", "#5fd0be"),
    "run2": ("#7a6a00", "#d8c64a"),
    "run3": ("#332288", "#aa9df2"),
    "run4": ("#117733", "#7fd08d"),
    "run5": ("#aa4466", "#f29cae"),
}
RUN_COLOURS = [name for name in PALETTE if name.startswith("run")]
RUN_MARKERS = (("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"))
RUN_DASHES = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1, 1.5)))
MODALITY_MARKERS = {"image": ("o", "●"), "text": ("D", "◆")}

SQUARE, WIDE, SMALL = (4.0, 3.8), (4.0, 2.5), (3.1, 2.3)  # inches: two or three side by side

MAX_POINTS = 1000
MAX_LINKS = 40
MAX_COSINES = 2_000_000
SEED = 0  # of what is drawn where there is more than a picture shows
BINS = 60

STYLE = {
    "axes.edgecolor": PALETTE["muted"][0],
    "axes.grid": True,
    "axes.labelcolor": PALETTE["muted"][0],
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.family": "DejaVu Sans",  # measures the text; the page's own font writes it
    "font.size": 8.5,
    "grid.color": PALETTE["rule"][0],
    "grid.linewidth": 0.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "aligngap",  # the same numbers give the same bytes
    "text.color": PALETTE["ink"][0],
    "text.parse_math": False,  # a caption or a run's name may hold dollar signs
    "xtick.color": PALETTE["muted"][0],
    "ytick.color": PALETTE["muted"][0],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


@dataclasses.dataclass(frozen=True)
class Projected:
    """Two coordinates of each image and caption, and the share of variance that each explains."""

    image: Float[np.ndarray, "N 2"]
    text: Float[np.ndarray, "C 2"]
    shares: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Plane:
    """That of the greatest variance of both modalities; coordinates count from its centre."""

    centre: Float[np.ndarray, "D"]
    axes: Float[np.ndarray, "D 2"]
    shares: tuple[float, float]

    def project(self, image: Float[np.ndarray, "N D"], text: Float[np.ndarray, "C D"]) -> Projected:
        """These images and captions in it."""
        where = [(rows - self.centre) @ self.axes for rows in (image, text)]
        return Projected(where[0], where[1], self.shares)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A line of an interval plot: (value, low, high) a run, as shares; a heading where none."""

    label: str
    chance: float | None = None
    numbers: Sequence[tuple[float, float, float]] = ()


def project(
    image: Float[np.ndarray, "N D"], text: Float[np.ndarray, "C D"], own: Int[np.ndarray, "N"]
) -> Projected:
    """Images and captions in their own plane."""
    return plane(image, text, own).project(image, text)


def plane(
    image: Float[np.ndarray, "N D"], text: Float[np.ndarray, "C D"], own: Int[np.ndarray, "N"]
) -> Plane:
    """Joint principal components of both modalities, every pair counted once in each of them.

    Signs are chosen so that captions lie to the right of images, and above them.
    """
    paired = text[own]
    rows = np.concatenate([image, paired]).astype(np.float64)
    centre = rows.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(rows - centre, rowvar=False))
    axes = vectors[:, [-1, -2]]
    axes = axes * np.where((paired.mean(axis=0) - image.mean(axis=0)) @ axes < 0, -1, 1)
    total = max(values.sum(), 1e-12)
    return Plane(centre, axes, (float(values[-1] / total), float(values[-2] / total)))


def reach(projections: Sequence[Projected]) -> float:
    """Half the side of the square that holds them all: one scale for every panel."""
    farthest = max(float(np.abs(p).max()) for q in projections for p in (q.image, q.text))
    return 1.06 * max(farthest, 1e-6)  # a plane has an extent even where all is one point


@matplotlib.rc_context(STYLE)
def cloud(found: Projected, own: Int[np.ndarray, "N"], half: float) -> str:
    """Both modalities in one square plane of ±half, thin lines joining some images to captions."""
    figure, axes = _panel(*SQUARE)
    draw_cloud(axes, found, own, half)
    return _svg(figure)


def draw_cloud(axes: Axes, found: Projected, own: Int[np.ndarray, "N"], half: float) -> None:
    """`cloud` on axes of somebody's own."""
    images = sample(len(found.image), MAX_POINTS, SEED)
    # A line never ends on an image that is not drawn.
    for row in images[sample(len(images), MAX_LINKS, SEED)]:
        ends = np.stack([found.image[row], found.text[own[row]]])
        axes.plot(*ends.T, color=PALETTE["muted"][0], linewidth=0.5, alpha=0.55, zorder=1)
    shown = {
        "image": found.image[images],
        "text": found.text[sample(len(found.text), MAX_POINTS, SEED)],
    }
    for name, points in shown.items():
        marker = MODALITY_MARKERS[name][0]
        axes.plot(
            *points.T, marker, color=PALETTE[name][0], markersize=3, alpha=0.6,
            markeredgewidth=0, zorder=2,
        )  # fmt: skip
    axes.set(xlim=(-half, half), ylim=(-half, half), aspect="equal")
    axes.set(**dict(zip(("xlabel", "ylabel"), axis_titles(found.shares), strict=True)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, symmetric=True))


def axis_titles(shares: tuple[float, float]) -> list[str]:
    """Of the first and the second principal component."""
    return [f"PC {i} ({100 * share:.1f} % of variance)" for i, share in enumerate(shares, start=1)]


def cosines(
    image: Float[np.ndarray, "N D"],
    text: Float[np.ndarray, "C D"],
    own: Int[np.ndarray, "N"],
    group: Int[np.ndarray, "C"],
) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "M"]]:
    """Cosines of every image with its caption, and with those of other groups (of at most
    MAX_COSINES)."""
    paired = np.einsum("nd,nd->n", image, text[own])
    rows = sample(len(image), max(1, MAX_COSINES // len(text)), SEED)
    others = group[own[rows], None] != group
    return paired, (image[rows] @ text.T)[others]


def histogram_heights(values: np.ndarray, bins: np.ndarray) -> Float[np.ndarray, "bins"]:
    """Percent of the values in each bin."""
    return 100 * np.histogram(values, bins)[0] / max(len(values), 1)


@matplotlib.rc_context(STYLE)
def histogram(
    paired: np.ndarray, unpaired: np.ndarray, bins: np.ndarray, top: float, number: int
) -> str:
    """Both distributions on the given bins and height, a dashed line at each mean; pairs in the
    colour of the run at that place of the report, the others grey."""
    figure, axes = _panel(*WIDE)
    for values, colour in ((unpaired, PALETTE["muted"][0]), (paired, run_colour(number))):
        if len(values):
            heights = histogram_heights(values, bins)
            axes.stairs(heights, bins, fill=True, color=colour, alpha=0.35)
            axes.stairs(heights, bins, color=colour, linewidth=1.1)
            axes.axvline(float(values.mean()), color=colour, linewidth=1, linestyle=(0, (3, 2)))
    axes.set(xlim=(bins[0], bins[-1]), ylim=(0, top), xlabel="cosine", ylabel="% of cosines a bin")
    axes.grid(axis="x", visible=False)
    return _svg(figure)


@matplotlib.rc_context(STYLE)
def counts(
    values: Float[np.ndarray, "V"], often: Int[np.ndarray, "V"], label: str, widening: bool
) -> str:
    """How often values occur; with `widening`, on bins and an axis that grow by a factor."""
    figure, axes = _panel(*WIDE)
    low, high = float(values.min()), float(values.max())
    whole = bool(np.all(values == np.round(values)))
    if widening:
        bins = np.geomspace(low * 0.99, high * 1.01, BINS // 2)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        width = max(1, -(-(high - low + 1) // BINS)) if whole else (high - low) / BINS
        bins = np.arange(low - 0.5, high + width, width)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=whole))
    if low == high:
        axes.set_xticks([low])
    heights, _ = np.histogram(values, bins, weights=often)
    axes.stairs(heights, bins, fill=True, color=run_colour(0), alpha=0.35)
    axes.stairs(heights, bins, color=run_colour(0), linewidth=1.1)
    axes.set(xlabel=label, ylabel="how many")
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.grid(axis="x", visible=False)
    return _svg(figure)


@matplotlib.rc_context(STYLE)
def curves(
    series: Sequence[tuple[np.ndarray, np.ndarray] | None], label: str, from_zero: bool
) -> str:
    """One metric against the training step, a line a run (None: it has none). A line of more
    than 100 points is drawn faintly, with its running mean over 1/25 of them on top."""
    figure, axes = _panel(*SMALL)
    for number, found in enumerate(series):
        if found is None:
            continue
        steps, values = found
        colour, dashes = run_colour(number), RUN_DASHES[number % len(RUN_DASHES)]
        marker = run_marker(number)[0]
        if len(values) > 100:
            axes.plot(steps, values, color=colour, linewidth=0.6, alpha=0.3)
            values, marker = _running_mean(values, len(values) // 25), ""
        axes.plot(
            steps, values, color=colour, linestyle=dashes, linewidth=1.4, marker=marker,
            markersize=3.5,
        )  # fmt: skip
    axes.set(xlabel="training step", ylabel=label)
    axes.margins(x=0.02)
    if from_zero:
        axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return _svg(figure)


@matplotlib.rc_context(STYLE)
def bands(
    series: Sequence[Sequence[tuple[float, float, float, float]] | None],
    chance: float | None,
    labels: tuple[str, str],
) -> str:
    """(place, value, low, high) of each run against the place, a line a run in a band of its
    interval (None: it has none), from 0 on; chance dotted. `labels` of both axes."""
    figure, axes = _panel(*SMALL)
    for number, found in enumerate(series):
        if found is None:
            continue
        places, values, low, high = np.array(found).T
        colour, dashes = run_colour(number), RUN_DASHES[number % len(RUN_DASHES)]
        axes.fill_between(places, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(
            places, values, color=colour, linestyle=dashes, linewidth=1.4,
            marker=run_marker(number)[0], markersize=3,
        )  # fmt: skip
    if chance is not None:
        axes.axhline(chance, color=PALETTE["ink"][0], linestyle=":", linewidth=1)
    axes.set(xlabel=labels[0], ylabel=labels[1], ylim=(0, None))
    axes.margins(x=0.02)
    return _svg(figure)


@matplotlib.rc_context(STYLE)
def intervals(rows: Sequence[Comparison], limit: float) -> str:
    """Points with their 95 % intervals on a scale of 0 to `limit` percent; a tick marks chance."""
    inches, offsets = _beside(rows)
    figure, axes = _panel(SMALL[0], 0.55 + inches * len(rows))
    for place, row in enumerate(rows):
        for number, (value, low, high) in enumerate(row.numbers):
            colour, y = run_colour(number), place + offsets[number]
            axes.plot([100 * low, 100 * high], [y, y], color=colour, linewidth=1.3)
            axes.plot(100 * value, y, run_marker(number)[0], color=colour, markersize=4)
        if not row.numbers:
            axes.text(0.015 * limit, place + 0.1, row.label, va="center")
        if row.chance is not None:
            ends = [place - 0.38, place + 0.38]
            axes.plot([100 * row.chance] * 2, ends, color=PALETTE["ink"][0], linewidth=1.1)
    axes.set(xlim=(0, limit), ylim=(len(rows) - 0.5, -0.5), xlabel="% of queries")
    axes.set_yticks(range(len(rows)), [row.label if row.numbers else "" for row in rows])
    axes.grid(axis="y", visible=False)
    return _svg(figure)


@matplotlib.rc_context(STYLE)
def differences(rows: Sequence[Comparison]) -> str:
    """How far each further run is from the first, with 95 % intervals around a line at 0."""
    inches, offsets = _beside(rows)
    figure, axes = _panel(WIDE[0], 0.55 + inches * len(rows))
    axes.axvline(0, color=PALETTE["ink"][0], linewidth=0.9)
    for place, row in enumerate(rows):
        for number, (value, low, high) in enumerate(row.numbers, start=1):
            colour, y = run_colour(number), place + offsets[number - 1]
            axes.plot([low, high], [y, y], color=colour, linewidth=1.3)
            axes.plot(value, y, run_marker(number)[0], color=colour, markersize=4)
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel="difference")
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.grid(axis="y", visible=False)
    return _svg(figure)


def _beside(rows: Sequence[Comparison]) -> tuple[float, Float[np.ndarray, "runs"]]:
    """The inches of a row, and where in it each run stands: no marker covers another's."""
    count = max((len(row.numbers) for row in rows), default=0)
    half = 0.2 if count <= 3 else 0.35
    return max(0.27, 0.085 * count), np.linspace(-half, half, count) if count > 1 else np.zeros(1)


def run_colour(number: int) -> str:
    """The light colour of a run by its place in the report."""
    return PALETTE[RUN_COLOURS[number % len(RUN_COLOURS)]][0]


def run_marker(number: int) -> tuple[str, str]:
    """A run's marker, as matplotlib names it and as a character for legends."""
    return RUN_MARKERS[number % len(RUN_MARKERS)]


def log_heights(axes: Axes) -> None:
    """Heights on a log scale, labelled 1, 2 and 5 of each decade: a loss may stay within one."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")  # No mathematics is parsed.
    axes.yaxis.set_minor_locator(NullLocator())


def _running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Centred mean over up to `window` neighbours; nan where one of them is."""
    padded = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    low = np.maximum(places - window // 2, 0)
    high = np.minimum(places + window // 2 + 1, len(values))
    return (padded[high] - padded[low]) / (high - low)


def _panel(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure of that many inches. No pyplot: no figure outlives its panel."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure) -> str:
    """The figure as an <svg> element that scales with its place and takes the page's colours."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    return _inline(buffer.getvalue())


def _inline(document: str) -> str:
    """A stand-alone SVG as part of a page: no prologue, sizes, fonts, page-wide rules or
    name spaces, ids of its own, and variables for the palette's colours."""
    box = re.search(r'viewBox="[^"]*"', document)
    body = re.search(r"<svg[^>]*>(.*)</svg>", document, re.DOTALL)
    assert box and body, "matplotlib wrote no SVG"
    text = re.sub(r"<style.*?</style>", "", body[1], count=1, flags=re.DOTALL)
    text = re.sub(r" font-family: [^;\"]*;", "", text)
    text = re.sub(r'(?<= [dxy]=")[^"]+', lambda found: _short(found[0]), text)
    own = f"f{zlib.crc32(text.encode()):08x}-"
    text = re.sub(r'( id="|url\(#|xlink:href="#)', rf"\1{own}", text)
    for name, (light, _) in PALETTE.items():
        text = text.replace(f": {light}", f": var(--{name})")
    return f'<svg class="figure" {box[0]}>{text}</svg>'


def _short(coordinates: str) -> str:
    """Numbers of a path to a hundredth of a point: half the bytes, the same picture."""
    return re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", coordinates)
