"""Two clouds as all measures need them: sums over every pair, and every two rows of a sample.

Rows of a modality that are equal are one item, and so are pairs equal in both: each counts once in
every mean, and no copy is a neighbour, a negative or a distractor.
"""

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from aligngap.config import MODALITIES
from aligngap.gap import copies, formulas, neighbours, spectrum, streaming
from aligngap.gap.copies import Items, Part
from aligngap.gap.measures import separability_hits
from aligngap.gap.neighbours import Neighbours, View, Watch
from aligngap.gap.streaming import Chunk, Passed, Sums

EXACT_PAIRS = 20_000  # up to here quadratic measures take every pair; beyond, a sample of as many
SAMPLED = (  # the measures that a sample stands in for; names that begin so
    "uniformity",
    "cross_uniformity",
    "linear_separability",
    "same_modality_neighbours",
    "paired_",
)


@dataclasses.dataclass(frozen=True)
class Clouds:
    """What was gathered of two clouds of paired embeddings."""

    passed: Passed
    neighbours: Neighbours  # of the sampled pairs
    hits: tuple[Part, Part]  # of the separability, on the test part of the sampled pairs


class Potentials(NamedTuple):
    """Of each item, the sum of its Gaussian potentials, over how many others, and its group."""

    total: Float[np.ndarray, "U"]
    others: Float[np.ndarray, "U"]
    group: Int[np.ndarray, "U"]


def summary(
    image: Float[ArrayLike, "N D"],
    text: Float[ArrayLike, "N D"],
    *,
    exact_pairs: int = EXACT_PAIRS,
    seed: int = 0,
    items: Items | None = None,
) -> dict[str, float]:
    """Every measure of this package by its name; takes NumPy or JAX arrays of unit rows.

    Beyond `exact_pairs` those of `SAMPLED` come from a seeded sample of that many pairs. Equal rows
    are one item, unless `items` says what is one: rows may have become equal by a transform.
    """
    return values(in_memory(image, text, exact_pairs, seed, items))


def in_memory(
    image: ArrayLike, text: ArrayLike, exact_pairs: int, seed: int, items: Items | None = None
) -> Clouds:
    """Two arrays [N, D], gathered."""
    items = copies.find(streaming.slices(image, text)) if items is None else items
    return gather(streaming.slices(image, text), items, items.sample(exact_pairs, seed), seed)


def gather(
    chunks: Iterable[Chunk],
    items: Items,
    sampled: Int[np.ndarray, "S"],
    seed: int,
    watch: Watch = iter,
) -> Clouds:
    """One pass over chunks of float32 rows, then every two rows of the sampled pairs."""
    passed = streaming.collect(chunks, items, sampled)
    found = neighbours.look(passed.image, passed.text, passed.items, watch)
    hits = separability_hits(passed.image, passed.text, passed.items, seed)
    return Clouds(passed, found, hits)


def values(clouds: Clouds) -> dict[str, float]:
    """Every measure by its name."""
    sums = clouds.passed.sums
    once = np.ones((1, len(sums.pairs)))
    found = {name: float(value[0]) for name, value in linear(sums, once).items()}
    for modality, matrix in zip(MODALITIES, clouds.passed.covariances, strict=True):
        found |= {f"{name}_{modality}": x for name, x in spectrum.values(matrix).items()}
    found |= {name: _log_mean(sides[0]) for name, sides in potentials(clouds.neighbours).items()}
    found["linear_separability"] = neighbours.mean(clouds.hits)
    nearest = neighbours.same_modality(clouds.neighbours)
    found["same_modality_neighbours"] = neighbours.mean(nearest)
    return found | neighbours.rank_values(clouds.neighbours)


def linear(sums: Sums, drawn: Float[np.ndarray, "R G"]) -> dict[str, Float[np.ndarray, "R"]]:
    """The measures that are functions of means over items, in R resamples of the groups.

    Row r of `drawn` says how often each group is in resample r. Two rows of one draw of a group are
    two items, of two draws of it they may be one drawn twice: such products are left out.
    """
    twice = drawn**2 - drawn
    with np.errstate(invalid="ignore"):
        paired = (drawn @ sums.paired) / (drawn @ sums.pairs)
        means, cosines = [], []
        for cloud in (sums.image, sums.text):
            count, total = drawn @ cloud.count, drawn @ cloud.total
            means.append(total / count[:, None])
            own = twice @ np.sum(cloud.total**2, axis=1) + drawn @ cloud.squares
            pairs = count**2 - twice @ cloud.count**2 - count
            # One item alone leaves 0 / 0, of which rounding would make an infinity.
            pairs = np.where(pairs > 0, pairs, np.nan)
            cosines.append(formulas.mean_pairwise_cosine(total, own, pairs))
        return {
            "centroid_distance": formulas.centroid_distance(means[0] - means[1]),
            "alignment_score": paired,
            "mean_pairwise_cosine_image": cosines[0],
            "mean_pairwise_cosine_text": cosines[1],
            "relative_modality_gap": formulas.relative_modality_gap(paired, *cosines),
        }


def potentials(found: Neighbours) -> dict[str, tuple[Potentials, Potentials]]:
    """Those of each item, seen from the one side and from the other."""
    group, (images, texts, _) = found.items.group, found.items.first

    def of(seen: View, first: np.ndarray) -> Potentials:
        total, others = (np.asarray(x, np.float64)[first] for x in (seen.potential, seen.others))
        return Potentials(total, others, group[first])

    image, text = of(found.image, images), of(found.text, texts)
    cross = of(found.to_text, images), of(found.to_image, texts)
    return {
        "uniformity_image": (image, image),
        "uniformity_text": (text, text),
        "cross_uniformity": cross,
    }


def sampled_measures(names: Iterable[str]) -> list[str]:
    """Those that a sample stands in for where there are many pairs."""
    return [name for name in names if name.startswith(SAMPLED)]


def _log_mean(of: Potentials) -> float:
    """0 where there are no two items, as in `objectives.uniformity_loss`."""
    pairs = int(of.others.sum())
    return float(np.log(of.total.sum() / pairs)) if pairs else 0.0
