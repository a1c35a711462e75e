"""`aligngap gap perturbation`: retrieval and accuracy under noise, and in one byte or bit a
dimension."""

import argparse
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aligngap.errors import UsageError
from aligngap.gap import copies
from aligngap.gap.streaming import sample
from aligngap.intervals import Interval, as_json
from aligngap.laboratory.shared import embeddings, labelled, points
from aligngap.laboratory.shared.embeddings import classes, read_pairs
from aligngap.laboratory.shared.result import Result, style
from aligngap.reporting.figures import PALETTE, run_colour
from aligngap.tasks import perturbation

SHOWN = {
    "text_retrieval_recall@10": "image → caption, R@10",
    "image_retrieval_recall@10": "caption → image, R@10",
    "acc1": "zero-shot accuracy",
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The files, and the noise."""
    embeddings.add_flags(parser)
    sizes = list(perturbation.SIZES)
    length = "length of the noise beside that of an embedding"
    parser.add_argument("--sizes", type=float, nargs="+", default=sizes, help=length)
    parser.add_argument("--draws", type=int, default=perturbation.DRAWS, help="of the noise (3)")
    parser.add_argument("--pairs", type=int, default=5000, help="most pairs; beyond, a sample")
    labelled.add_seed(parser, "sample, noise and intervals")


def run(arguments: argparse.Namespace) -> Result:
    """Both modalities perturbed, each by itself."""
    labelled.check_seed(arguments)
    if arguments.draws < 1 or arguments.pairs < 4 or not all(x > 0 for x in arguments.sizes):
        raise UsageError("--draws is at least 1, --pairs at least 4, and --sizes are above 0")
    image, text = read_pairs(arguments.image, arguments.text)
    given, labels, class_text = len(image), *classes(arguments, image)
    rows = sample(given, arguments.pairs, arguments.seed)
    image, text, labels = image[rows], text[rows], labels[rows]
    items, noise = copies.of(image, text), (arguments.seed, arguments.sizes, arguments.draws)
    same, a, b = items.group, items.first.image, items.first.text
    found = perturbation.retrieval(image[a], text[b], same[a], same[b], *noise)
    if class_text is not None:
        found |= perturbation.accuracy(image, class_text, labels, same, *noise)
    sizes = {"pairs_given": given, "pairs_measured": len(rows), "dimension": image.shape[1]}
    shown = {name: x for name, x in found.items() if name.partition("/")[2] in SHOWN}
    settings = vars(arguments) | sizes | {"copies": items.copies}
    figure = _draw(shown, sorted(arguments.sizes))
    return Result(
        "perturbation", settings, as_json(found), figure, points.lines(shown, items.copies)
    )


def _draw(found: Mapping[str, Interval], sizes: list[float]) -> Figure:
    """A panel a measure: against the size of the noise, and beside it bytes and bits."""
    measures = dict.fromkeys(name.partition("/")[2] for name in found)
    with style():
        figure = Figure(figsize=(4.2 * len(measures), 3.4), layout="constrained")
        panels = figure.subplots(1, len(measures), squeeze=False)[0]
        for axes, measure in zip(panels, measures, strict=True):
            own = {name.partition("/")[0]: x for name, x in found.items() if name.endswith(measure)}
            _panel(axes, own, sizes)
            axes.set_title(SHOWN[measure], fontsize=9, loc="left")
        panels[0].set_ylabel("% of queries, 95 % interval")
    return figure


def _panel(axes: Axes, own: Mapping[str, Interval], sizes: list[float]) -> None:
    noise = [own["none"], *(own[f"noise_{size:g}"] for size in sizes)]
    low, high, value = (
        100 * np.array([getattr(x, n) for x in noise]) for n in ("low", "high", "value")
    )
    axes.fill_between([0, *sizes], low, high, color=run_colour(0), alpha=0.2, lw=0)
    axes.plot([0, *sizes], value, "o-", ms=3, color=run_colour(0), label="Gaussian noise")
    for number, (name, words) in enumerate((("int8", "one byte"), ("binary", "one bit")), 1):
        axes.axhline(100 * own[name].value, color=run_colour(number), lw=1.2, label=words)
    if (chance := own["none"].chance) is not None:
        axes.axhline(100 * chance, color=PALETTE["muted"][0], ls=":", lw=1, label="chance")
    axes.set(xlabel="length of the noise (of an embedding: 1)", ylim=(0, None))
    axes.legend(frameon=False, fontsize=7)
