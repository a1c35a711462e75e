"""What one pass over pairs in chunks gathers: sums over distinct items, and a sample."""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Int
from scipy import sparse

from aligngap.config import MODALITIES
from aligngap.gap.copies import First, Items
from aligngap.gap.unit_rows import expect_finite, expect_pairs

# Rows of a chunk, and the most groups that a bootstrap draws from: pairs that answer each other
# (`Items.group` c) fall into group c mod GROUPS.
GROUPS = 4096

Chunk = tuple[Float[np.ndarray, "n D"], Float[np.ndarray, "n D"]]


@dataclasses.dataclass(frozen=True)
class Sums:
    """Sums over the distinct images, texts and pairs of each of G groups, in float64."""

    image: "Cloud"
    text: "Cloud"
    pairs: Float[np.ndarray, "G"]
    paired: Float[np.ndarray, "G"]  # of the cosines of pairs


@dataclasses.dataclass(frozen=True)
class Cloud:
    """Of the distinct rows of a modality in each group: how many, their sum, that of ‖x‖²."""

    count: Float[np.ndarray, "G"]
    total: Float[np.ndarray, "G D"]
    squares: Float[np.ndarray, "G"]


@dataclasses.dataclass(frozen=True)
class Passed:
    """What a pass gathered: sums, covariances (of all distinct rows), and the sampled pairs."""

    sums: Sums
    covariances: tuple[Float[np.ndarray, "D D"], Float[np.ndarray, "D D"]]
    items: Items  # of the sampled pairs
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
    """Arrays [N, D] in memory as float32 chunks; AligngapError for what is no pairs, and for a row
    that is not finite."""
    expect_pairs(image, text)
    image, text = np.asarray(image), np.asarray(text)
    for start in range(0, len(image), GROUPS):
        rows = slice(start, start + GROUPS)
        chunk = np.asarray(image[rows], np.float32), np.asarray(text[rows], np.float32)
        for name, part in zip(MODALITIES, chunk, strict=True):
            expect_finite(name, part, start)
        yield chunk


def sample(pairs: int, most: int, seed: int) -> Int[np.ndarray, "S"]:
    """Rows in order: all of them, or `most` drawn without replacement."""
    if pairs <= most:
        return np.arange(pairs)
    return np.sort(np.random.default_rng(seed).choice(pairs, most, replace=False))


def collect(chunks: Iterable[Chunk], items: Items, sampled: Int[np.ndarray, "S"]) -> Passed:
    """One pass over chunks of pairs, of which `items` says what counts."""
    kept: list[Chunk] = []
    start = 0
    groups = items.group % GROUPS
    for image, text in chunks:
        rows = slice(start, start + len(image))
        first = First(*(x[rows] for x in items.first))
        if start == 0:
            sums = _no_sums(int(groups.max()) + 1, image.shape[1])
            spreads = Spread(image[first.image]), Spread(text[first.text])
        _add(sums, image, text, groups[rows], first)
        spreads[0].add(image[first.image])
        spreads[1].add(text[first.text])
        ends = np.searchsorted(sampled, [start, start + len(image)])
        chosen = sampled[slice(*ends)] - start
        kept.append((image[chosen], text[chosen]))
        start += len(image)
    images, texts = (np.concatenate(rows) for rows in zip(*kept, strict=True))
    covariances = spreads[0].covariance(), spreads[1].covariance()
    return Passed(sums, covariances, items.take(sampled), images, texts)


def _no_sums(groups: int, width: int) -> Sums:
    image, text = (
        Cloud(np.zeros(groups), np.zeros((groups, width)), np.zeros(groups)) for _ in range(2)
    )
    return Sums(image, text, np.zeros(groups), np.zeros(groups))


def _add(
    sums: Sums, image: np.ndarray, text: np.ndarray, group: Int[np.ndarray, "n"], first: First
) -> None:
    """Adds the first ones of a chunk in place, each to its group."""
    for cloud, rows, counted in (
        (sums.image, image, first.image),
        (sums.text, text, first.text),
    ):
        own = group[counted]
        # Rows of one group in a chunk are added up first: an index counts once in an assignment.
        there, place = np.unique(own, return_inverse=True)
        shape = len(there), len(own)
        chosen = sparse.csr_array((np.ones(len(own)), (place, np.arange(len(own)))), shape)
        cloud.total[there] += chosen @ rows[counted]
        np.add.at(cloud.count, own, 1)
        np.add.at(cloud.squares, own, inner(rows[counted], rows[counted]))
    np.add.at(sums.pairs, group[first.pair], 1)
    np.add.at(sums.paired, group[first.pair], inner(image[first.pair], text[first.pair]))


def inner(a: Float[np.ndarray, "n D"], b: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n"]:
    """Row by row a_i · b_i, summed in float64."""
    return np.einsum("nd,nd->n", a, b, dtype=np.float64)
