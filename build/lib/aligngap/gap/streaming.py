"""What one pass over pairs in chunks gathers: sums that are linear in the pairs, and a sample."""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Int

# Rows of a chunk, and the groups that a bootstrap draws from: pair i falls into group i mod GROUPS.
GROUPS = 4096

Chunk = tuple[Float[np.ndarray, "n D"], Float[np.ndarray, "n D"]]


@dataclasses.dataclass(frozen=True)
class Sums:
    """Sums over the pairs of each of G groups, in float64. Of G pairs or fewer each is a group."""

    sizes: Float[np.ndarray, "G"]
    image: Float[np.ndarray, "G D"]
    text: Float[np.ndarray, "G D"]
    paired: Float[np.ndarray, "G"]  # of the cosines of pairs
    squares: Float[np.ndarray, "2"]  # of ‖x‖² over all images, over all texts


@dataclasses.dataclass(frozen=True)
class Passed:
    """What a pass gathered: sums, covariances (of all pairs), and the sampled pairs."""

    pairs: int
    sums: Sums
    covariances: tuple[Float[np.ndarray, "D D"], Float[np.ndarray, "D D"]]
    image: Float[np.ndarray, "S D"]
    text: Float[np.ndarray, "S D"]


class Spread:
    """Accumulates a covariance around an assumed mean, lest a narrow cone cancel (Chan et al.)."""

    def __init__(self, first: Float[np.ndarray, "n D"]) -> None:
        width = first.shape[1]
        self._origin = first.mean(axis=0, dtype=np.float64).astype(np.float32)
        self._sum, self._products, self._count = np.zeros(width), np.zeros((width, width)), 0

    def add(self, rows: Float[np.ndarray, "n D"]) -> None:
        """Counts the rows in."""
        moved = rows - self._origin
        self._sum += moved.sum(axis=0, dtype=np.float64)
        self._products += moved.T @ moved
        self._count += len(rows)

    def covariance(self) -> Float[np.ndarray, "D D"]:
        """E (x − μ)(x − μ)ᵀ of all rows so far."""
        mean = self._sum / self._count
        return self._products / self._count - np.outer(mean, mean)


def slices(image: ArrayLike, text: ArrayLike) -> Iterator[Chunk]:
    """Arrays [N, D] in memory as float32 chunks."""
    image, text = np.asarray(image), np.asarray(text)
    for start in range(0, len(image), GROUPS):
        rows = slice(start, start + GROUPS)
        yield np.asarray(image[rows], np.float32), np.asarray(text[rows], np.float32)


def sample(pairs: int, most: int, seed: int) -> Int[np.ndarray, "S"]:
    """Rows in order: all of them, or `most` drawn without replacement."""
    if pairs <= most:
        return np.arange(pairs)
    return np.sort(np.random.default_rng(seed).choice(pairs, most, replace=False))


def collect(chunks: Iterable[Chunk], pairs: int, sampled: Int[np.ndarray, "S"]) -> Passed:
    """One pass over chunks of GROUPS pairs (the last may be shorter)."""
    kept: list[Chunk] = []
    start = 0
    for image, text in chunks:
        if start == 0:
            sums = _no_sums(min(pairs, GROUPS), image.shape[1])
            spreads = Spread(image), Spread(text)
        _add(sums, image, text)
        for spread, rows in zip(spreads, (image, text), strict=True):
            spread.add(rows)
        ends = np.searchsorted(sampled, [start, start + len(image)])
        chosen = sampled[slice(*ends)] - start
        kept.append((image[chosen], text[chosen]))
        start += len(image)
    images, texts = (np.concatenate(rows) for rows in zip(*kept, strict=True))
    return Passed(pairs, sums, (spreads[0].covariance(), spreads[1].covariance()), images, texts)


def _no_sums(groups: int, width: int) -> Sums:
    clouds = np.zeros((groups, width)), np.zeros((groups, width))
    return Sums(np.zeros(groups), *clouds, np.zeros(groups), np.zeros(2))


def _add(sums: Sums, image: np.ndarray, text: np.ndarray) -> None:
    """Adds a chunk in place: its row i to group i."""
    n = len(image)
    sums.sizes[:n] += 1
    sums.image[:n] += image
    sums.text[:n] += text
    sums.paired[:n] += inner(image, text)
    sums.squares[:] += inner(image, image).sum(), inner(text, text).sum()


def inner(a: Float[np.ndarray, "n D"], b: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n"]:
    """Row by row a_i · b_i, summed in float64."""
    return np.einsum("nd,nd->n", a, b, dtype=np.float64)
