"""`aligngap gap`: one self-contained HTML page about two clouds of paired embeddings."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from aligngap import atomic
from aligngap.gap import clouds, copies
from aligngap.gap.files import Measured
from aligngap.gap.formulas import centroid_distance
from aligngap.gap.intervals import RESAMPLES
from aligngap.gap.streaming import sample
from aligngap.intervals import Interval
from aligngap.reporting import figures, panels, template, words
from aligngap.reporting.figures import Plane
from aligngap.reporting.gap_page import pair_map
from aligngap.reporting.panels import Panel
from aligngap.reporting.words import GAP
from aligngap.runs import provenance
from aligngap.tasks.ranking import KS

MAX_PAIRS = 10_000  # pictures of more show a random sample
MAX_LABELS = 50  # of the table; gap.json has all


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What a measure tells and its range, its formula in words, and the paper it comes from."""

    sentence: str
    formula: str
    paper: str


LIANG = "Liang et al., NeurIPS 2022, arXiv 2203.02053"
WANG = "Wang & Isola, ICML 2020, arXiv 2005.10242"
ESLAMI = "Eslami & de Melo, ICLR 2025, arXiv 2406.17639"
SCHRODI = "Schrodi et al., ICLR 2025, arXiv 2404.07983"
FAHIM = "Fahim et al., 2024, arXiv 2405.18570"
ROY = "Roy & Vetterli, EUSIPCO 2007"
JOLLIFFE = "Jolliffe, Principal Component Analysis, 2002"
ROLE = "Role et al., 2025, arXiv 2505.03703"
VOORHEES = "Voorhees, TREC-8, 1999"
KARPATHY = "Karpathy & Fei-Fei, CVPR 2015, arXiv 1412.2306"

SPREAD = "0 where all are one point, about −4 where they fill a sphere of many dimensions."
DIMENSIONS = "1 where all lie on a line, the number of dimensions where no direction is preferred."
RANK = "1 is best; a random order puts it in the middle of all pairs."
CONE = "1 where all are one point, about 0 where they have no common direction."

EFFECTIVE_RANK = "exp of the entropy of the covariance's eigenvalues, as shares of their sum"


def _explained(what: str, components: int) -> Meaning:
    plural = "component" if components == 1 else f"{components} components"
    return Meaning(
        f"How much of the spread of the {what} lies in the first {plural}: 1 where all of it.",
        f"share of the variance along the first principal {plural} of the {what}",
        JOLLIFFE,
    )


def _recall(one: str, other: str, k: int) -> Meaning:
    among = f"among the {k} nearest" if k > 1 else "the nearest"
    return Meaning(
        f"How often the own {other} of {one}s is {among} to them: 1 is always.",
        f"share of {one}s whose own {other} is {among} by cosine; ties count by their share",
        KARPATHY,
    )


# In the order of the page; their names are those of words.MEASURES.
MEANINGS = {
    "centroid_distance": Meaning(
        "How far apart the centres of the two clouds lie: 0 is closed, 2 is opposite.",
        "‖mean image − mean caption‖",
        LIANG,
    ),
    "alignment_score": Meaning(
        "How alike an image and its own caption are: 1 where they coincide, 0 where they are "
        "orthogonal, −1 where they are opposite.",
        "mean cosine of pairs",
        ESLAMI,
    ),
    "relative_modality_gap": Meaning(
        "How far apart pairs are, measured against two rows of one modality: 0 where pairs "
        "coincide, 0.5 where they are as far apart as those, 1 where each modality is a point.",
        "p / (p + s), with p the mean of 1 − cosine over pairs, and s that over two distinct "
        "images or two distinct captions",
        SCHRODI,
    ),
    "linear_separability": Meaning(
        "How often a flat boundary tells an image from a caption: 1 where the modalities lie "
        "apart, 0.5 (guessing) where they are mixed.",
        "accuracy of a logistic regression on a fifth of the pairs, fitted to the others; images "
        "and captions count the same, however many they are",
        FAHIM,
    ),
    "uniformity_image": Meaning(
        f"How evenly the images spread: {SPREAD}",
        "log of the mean of exp(−2 ‖x − y‖²) over distinct images",
        WANG,
    ),
    "uniformity_text": Meaning(
        f"How evenly the captions spread: {SPREAD}",
        "log of the mean of exp(−2 ‖x − y‖²) over distinct captions",
        WANG,
    ),
    "cross_uniformity": Meaning(
        "How far images lie from the captions of others: 0 where all are one point, about −4 "
        "where they are orthogonal, −8 where they are opposite.",
        "log of the mean of exp(−2 ‖image − caption‖²) over all that are no pair",
        FAHIM,
    ),
    "mean_pairwise_cosine_image": Meaning(
        f"How narrow the cone of images is: {CONE}", "mean cosine of distinct images", LIANG
    ),
    "mean_pairwise_cosine_text": Meaning(
        f"How narrow the cone of captions is: {CONE}", "mean cosine of distinct captions", LIANG
    ),
    "effective_rank_image": Meaning(
        f"How many dimensions the images use: {DIMENSIONS}", EFFECTIVE_RANK, ROY
    ),
    "effective_rank_text": Meaning(
        f"How many dimensions the captions use: {DIMENSIONS}", EFFECTIVE_RANK, ROY
    ),
    "explained_variance@1_image": _explained("images", 1),
    "explained_variance@1_text": _explained("captions", 1),
    "explained_variance@10_image": _explained("images", 10),
    "explained_variance@10_text": _explained("captions", 10),
    "same_modality_neighbours": Meaning(
        "How often what lies nearest is of the same modality: 1 where the modalities lie apart, "
        "about 0.5 where they are mixed, 0 where each lies nearest to its own pair.",
        "share of images whose nearest neighbour, the pair included, is an image, and of captions "
        "whose is a caption; their mean",
        ROLE,
    ),
    "paired_median_rank_image_to_text": Meaning(
        f"Where half of the images find their own caption: {RANK}",
        "median over images of the rank of its caption by cosine",
        KARPATHY,
    ),
    "paired_median_rank_text_to_image": Meaning(
        f"Where half of the captions find their own image: {RANK}",
        "median over captions of the rank of its image by cosine",
        KARPATHY,
    ),
    "paired_mean_reciprocal_rank_image_to_text": Meaning(
        "How near the front an image finds its own caption: 1 where it is always the nearest.",
        "mean over images of 1 / rank of its caption",
        VOORHEES,
    ),
    "paired_mean_reciprocal_rank_text_to_image": Meaning(
        "How near the front a caption finds its own image: 1 where it is always the nearest.",
        "mean over captions of 1 / rank of its image",
        VOORHEES,
    ),
    **{f"paired_recall@{k}_image_to_text": _recall("image", "caption", k) for k in KS},
    **{f"paired_recall@{k}_text_to_image": _recall("caption", "image", k) for k in KS},
}


def build(found: Measured, arguments: Sequence[str], output: Path) -> None:
    """Writes the page about what `aligngap ARGUMENTS` has measured.

    Raises AligngapError for an unwritable `output`.
    """
    atomic.write(output, template.render("gap_page/page.html.j2", _content(found, arguments)))


def _content(found: Measured, arguments: Sequence[str]) -> dict[str, Any]:
    count, width = found.images.shape
    shown = sample(len(found.image), MAX_PAIRS, figures.SEED)
    image, text = found.image[shown], found.text[shown]
    sampled = clouds.sampled_measures(found.intervals) if found.sampled else []
    plane = figures.plane(image, text, np.arange(len(shown)))
    # Row i's caption is text i; pairs that share an image or a caption are no negatives.
    group = found.items.group[shown]
    paired, negatives = figures.cosines(image, text, np.arange(len(shown)), group)
    return {
        "files": {"images": found.images, "captions": found.texts},
        "gap": _decimals(found.intervals[GAP]),
        "pairs": f"{count:,}",
        "dimension": f"{width:,}",
        "copies": copies.said(found.copies),
        "sampled": f"{len(shown):,}" if len(shown) < count else None,
        "points": f"{min(figures.MAX_POINTS, len(shown)):,}",
        "links": min(figures.MAX_LINKS, len(shown)),
        "negatives": f"{len(negatives):,}",
        "all_negatives": len(negatives) == count * (count - 1),
        "pair_colour": figures.RUN_COLOURS[0],  # that of the histogram's first
        "pictures": [
            _cloud(image, text, plane, found.intervals[GAP]),
            *panels.histograms(["Cosines of pairs and of negatives"], [(paired, negatives)]),
        ],
        "map": pair_map.content(found, plane),
        "scripts": pair_map.scripts(),
        "measures": [
            (words.MEASURES[name][0], _decimals(found.intervals[name]), meaning, name in sampled)
            for name, meaning in MEANINGS.items()
        ],
        "measured_on": f"{found.sampled:,}" if found.sampled else None,
        "labels": _labels(found),
        "more_labels": max(len(found.labels) - MAX_LABELS, 0),
        "resamples": f"{RESAMPLES:,}",
        "command": provenance.command_line(arguments),
        "versions": provenance.versions(),
    }


def _labels(found: Measured) -> list[tuple[str, str, str, str]]:
    """(label, pairs, gap, alignment) of those with the most pairs."""
    most = sorted(found.labels.items(), key=lambda item: -item[1]["pairs"])[:MAX_LABELS]
    return [
        (
            label,
            f"{x['pairs']:,}",
            words.decimal(x["centroid_distance"], 3),
            words.decimal(x["alignment_score"], 3),
        )
        for label, x in most
    ]


def _cloud(image: np.ndarray, text: np.ndarray, plane: Plane, gap: Interval) -> Panel:
    projection = plane.project(image, text)
    svg = figures.cloud(projection, np.arange(len(image)), figures.reach([projection]))
    between = projection.image.mean(axis=0) - projection.text.mean(axis=0)
    in_plane = float(centroid_distance(between))
    note = f"gap {words.decimal(gap.value)}, in this plane {words.decimal(in_plane)}"
    alt = f"Images and captions, first two principal components; {note}"
    return Panel(Markup(svg), "Images and captions", note, alt)


def _decimals(interval: Interval) -> dict[str, str]:
    """value, low and high as they are printed."""
    return {k: words.decimal(x, 3) for k, x in interval.as_json().items()}
