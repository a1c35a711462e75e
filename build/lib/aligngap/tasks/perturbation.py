"""Retrieval and classification when embeddings are perturbed: noise of growing size, and the forms
in which vector stores keep them, one byte or one bit a dimension.

Bytes are symmetric with a scale a dimension (Jacob et al. 2018), bits are signs (Charikar 2002).
Neither centres first: what a cone or a gap costs there is what is measured.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from aligngap.errors import AligngapError
from aligngap.intervals import Interval
from aligngap.tasks.intervals import estimate
from aligngap.tasks.ranking import KS
from aligngap.tasks.retrieval import chance_levels, expected_hits
from aligngap.unit import unit_rows_numpy

SIZES, DRAWS = (0.1, 0.25, 0.5, 1.0, 2.0), 3
LARGEST = 127  # Of a byte, symmetric.
Perturb = Callable[[Float[np.ndarray, "N D"], int], Float[np.ndarray, "N D"]]  # (rows, seed)


def noisy(rows: Float[np.ndarray, "N D"], size: float, seed: int) -> Float[np.ndarray, "N D"]:
    """Unit rows + Gaussian noise whose expected squared length is size², normalised again: at
    size 1 as long as the embedding itself, whatever D is."""
    drawn = np.random.default_rng(seed).normal(size=rows.shape)
    return unit_rows_numpy(np.asarray(rows, np.float64) + size / np.sqrt(rows.shape[1]) * drawn)


def int8(rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    """Rounded to a byte a dimension, whose scale is the dimension's largest value in these rows;
    normalised again."""
    wide = np.asarray(rows, np.float64)
    scale = np.maximum(np.abs(wide).max(axis=0), np.finfo(np.float32).tiny) / LARGEST
    return unit_rows_numpy(np.round(wide / scale) * scale)


def binary(rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    """The sign of each dimension (of 0: +), as unit rows: their cosine is 1 − 2·Hamming / D."""
    return np.where(np.asarray(rows) >= 0, 1.0, -1.0) / np.sqrt(rows.shape[1])


def perturbations(sizes: Sequence[float] = SIZES) -> dict[str, Perturb]:
    """By name: "none", "noise_0.5" for each size, "int8" and "binary"."""
    if any(not (np.isfinite(size) and size > 0) for size in sizes):
        raise AligngapError(f"noise sizes {tuple(sizes)}: expected numbers above 0")
    noise = {f"noise_{size:g}": _noise(size) for size in sizes}
    others: dict[str, Perturb] = {
        "int8": lambda rows, seed: int8(rows),
        "binary": lambda rows, seed: binary(rows),
    }
    return {"none": lambda rows, seed: rows, **noise, **others}


def retrieval(
    image: Float[np.ndarray, "N D"],
    text: Float[np.ndarray, "C D"],
    image_labels: Int[np.ndarray, "N"],
    text_labels: Int[np.ndarray, "C"],
    seed: int,
    sizes: Sequence[float] = SIZES,
    draws: int = DRAWS,
) -> dict[str, Interval]:
    """PERTURBATION/text_retrieval_recall@k and image_retrieval_recall@k (CLIP_benchmark's names),
    with both modalities perturbed; a query's hits are the mean over the draws of the noise."""
    sides = {
        "text_retrieval": ((0, 1), (image_labels, text_labels)),
        "image_retrieval": ((1, 0), (text_labels, image_labels)),
    }
    found: dict[str, Interval] = {}
    for name, clouds in _clouds((image, text), sizes, draws, seed):
        for direction, (order, labels) in sides.items():
            hits = _mean_hits(clouds, order, labels, KS)
            chances = chance_levels(*labels)
            for k, column, chance in zip(KS, hits.T, chances, strict=True):
                key = f"{name}/{direction}_recall@{k}"
                found[key] = estimate(column, labels[0], chance, seed)
    return found


def accuracy(
    image: Float[np.ndarray, "N D"],
    class_text: Float[np.ndarray, "C D"],
    labels: Int[np.ndarray, "N"],
    clusters: Int[np.ndarray, "N"],
    seed: int,
    sizes: Sequence[float] = SIZES,
    draws: int = DRAWS,
) -> dict[str, Interval]:
    """PERTURBATION/acc1: zero-shot by the nearest of C class embeddings, both perturbed."""
    own, chance = (labels, np.arange(len(class_text))), 1 / len(class_text)
    return {
        f"{name}/acc1": estimate(
            _mean_hits(clouds, (0, 1), own, (1,))[:, 0], clusters, chance, seed
        )
        for name, clouds in _clouds((image, class_text), sizes, draws, seed)
    }


def _noise(size: float) -> Perturb:
    return lambda rows, seed: noisy(rows, size, seed)


Clouds = Sequence[tuple[np.ndarray, np.ndarray]]


def _clouds(
    sides: tuple[np.ndarray, np.ndarray], sizes: Sequence[float], draws: int, seed: int
) -> Iterator[tuple[str, Clouds]]:
    """(perturbation, both sides perturbed): once, or `draws` times where it is random."""
    if draws < 1:
        raise AligngapError(f"draws={draws} of the noise: expected at least 1")
    for name, make in perturbations(sizes).items():
        times = range(draws if name.startswith("noise") else 1)
        yield (
            name,
            [(make(sides[0], seed + 2 * n), make(sides[1], seed + 2 * n + 1)) for n in times],
        )


def _mean_hits(
    clouds: Clouds, order: tuple[int, int], labels: tuple[np.ndarray, np.ndarray], ks: Sequence[int]
) -> Float[np.ndarray, "Q K"]:
    hits = [expected_hits(both[order[0]], both[order[1]], *labels, ks=ks) for both in clouds]
    return np.mean(hits, axis=0)
