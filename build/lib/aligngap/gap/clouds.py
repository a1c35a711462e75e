"""Two clouds as all measures need them: sums over every pair, and every two rows of a sample."""

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from aligngap.config import MODALITIES
from aligngap.gap import formulas, neighbours, spectrum, streaming
from aligngap.gap.measures import separability_hits
from aligngap.gap.neighbours import Neighbours, Watch
from aligngap.gap.streaming import Chunk, Passed

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
    hits: Float[np.ndarray, "M"]  # of the separability, on the test part of the sampled pairs


class Totals(NamedTuple):
    """Sums over R resamples of the pairs (or, once, over all)."""

    pairs: Float[np.ndarray, "R"]
    image: Float[np.ndarray, "R D"]
    text: Float[np.ndarray, "R D"]
    paired: Float[np.ndarray, "R"]  # of the cosines of pairs
    own: Float[np.ndarray, "2 R"]  # of products x·y that are no two rows: images, texts
    own_pairs: Float[np.ndarray, "R"]  # how many of those there are


def summary(
    image: Float[ArrayLike, "N D"],
    text: Float[ArrayLike, "N D"],
    *,
    exact_pairs: int = EXACT_PAIRS,
    seed: int = 0,
) -> dict[str, float]:
    """Every measure of this package by its name; takes NumPy or JAX arrays of unit rows.

    Beyond `exact_pairs` those of `SAMPLED` come from a seeded sample of that many pairs.
    """
    return values(in_memory(image, text, exact_pairs, seed))


def in_memory(image: ArrayLike, text: ArrayLike, exact_pairs: int, seed: int) -> Clouds:
    """Two arrays [N, D], gathered."""
    pairs = len(np.asarray(image))
    return gather(streaming.slices(image, text), pairs, exact_pairs, seed)


def gather(
    chunks: Iterable[Chunk], pairs: int, exact_pairs: int, seed: int, watch: Watch = iter
) -> Clouds:
    """One pass over chunks of float32 rows, then every two rows of the sampled pairs."""
    passed = streaming.collect(chunks, pairs, streaming.sample(pairs, exact_pairs, seed))
    found = neighbours.look(passed.image, passed.text, watch)
    return Clouds(passed, found, separability_hits(passed.image, passed.text, seed))


def values(clouds: Clouds) -> dict[str, float]:
    """Every measure by its name."""
    found = {name: float(value[0]) for name, value in linear(_all(clouds.passed)).items()}
    for modality, matrix in zip(MODALITIES, clouds.passed.covariances, strict=True):
        found |= {f"{name}_{modality}": x for name, x in spectrum.values(matrix).items()}
    found |= {name: _log_mean(rows[0]) for name, rows in potentials(clouds.neighbours).items()}
    found["linear_separability"] = float(clouds.hits.mean())
    found["same_modality_neighbours"] = float(neighbours.same_modality(clouds.neighbours).mean())
    return found | neighbours.rank_values(clouds.neighbours)


def linear(sums: Totals) -> dict[str, Float[np.ndarray, "R"]]:
    """The measures that are functions of means over pairs."""
    with np.errstate(invalid="ignore", divide="ignore"):  # One pair alone has no spread.
        paired = sums.paired / sums.pairs
        means = [rows / sums.pairs[:, None] for rows in (sums.image, sums.text)]
        cosines = [
            formulas.mean_pairwise_cosine(rows, own, sums.pairs**2 - sums.own_pairs)
            for rows, own in zip((sums.image, sums.text), sums.own, strict=True)
        ]
        return {
            "centroid_distance": formulas.centroid_distance(means[0] - means[1]),
            "alignment_score": paired,
            "mean_pairwise_cosine_image": cosines[0],
            "mean_pairwise_cosine_text": cosines[1],
            "relative_modality_gap": formulas.relative_modality_gap(paired, *cosines),
        }


def potentials(found: Neighbours) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The mean Gaussian potential of each row, seen from the one side and from the other."""
    sides = {
        "uniformity_image": (found.image, found.image),
        "uniformity_text": (found.text, found.text),
        "cross_uniformity": (found.to_text, found.to_image),
    }
    return {
        name: (np.asarray(one.potential), np.asarray(other.potential))
        for name, (one, other) in sides.items()
    }


def sampled_measures(names: Iterable[str]) -> list[str]:
    """Those that a sample stands in for where there are many pairs."""
    return [name for name in names if name.startswith(SAMPLED)]


def _all(passed: Passed) -> Totals:
    sums = passed.sums
    return Totals(
        np.array([float(passed.pairs)]),
        sums.image.sum(axis=0, keepdims=True),
        sums.text.sum(axis=0, keepdims=True),
        sums.paired.sum(keepdims=True),
        sums.squares[:, None],
        np.array([float(passed.pairs)]),
    )


def _log_mean(rows: Float[np.ndarray, "S"]) -> float:
    """0 for a single row, as in `objectives.uniformity_loss`."""
    return float(np.log(np.mean(rows, dtype=np.float64))) if len(rows) > 1 else 0.0
