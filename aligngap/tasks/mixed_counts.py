"""How items of a mixed pool stand to the right documents of queries, counted in float64."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from aligngap.tasks import mixed_ranks
from aligngap.tasks.first_places import Best
from aligngap.tasks.mixed_copies import Copies
from aligngap.tasks.mixed_ranks import AHEAD, BEHIND, TIED
from aligngap.tasks.standings import TIE
from aligngap.unit import SMALLEST

SCORES_AT_ONCE = 2**19  # elements of the largest arrays held: 4 MiB, which a core's cache has


class Counts(NamedTuple):
    """How many items stand how to each of r right documents."""

    mixed: Int[np.ndarray, "r M 3**M"]
    fused: Int[np.ndarray, "r A 3"]


class Part(NamedTuple):
    """The rows of n items in each modality, the first of which is `start`, and their lengths as
    fused by each row of weights."""

    start: int
    each: list[Float[np.ndarray, "n D"]]
    lengths: Float[np.ndarray, "A n"]


@dataclasses.dataclass(frozen=True)
class Tally:
    """What a pass counts for Q queries and their R right documents, as parts of the pool come."""

    queries: Float[np.ndarray, "Q D"]
    of: Int[np.ndarray, "R"]  # The query of each right document, in order.
    bars: Float[np.ndarray, "R M+A"]
    weights: Float[np.ndarray, "A M"]
    counts: Counts
    best: Best
    copies: Copies

    def blocks(self, most: int) -> Iterator[tuple[slice, slice]]:
        """Some queries, and their pairs; up to so many of either, and one query at least."""
        count = len(self.queries)
        ends, first = np.searchsorted(self.of, np.arange(count + 1)), 0
        while first < count:
            last = int(np.searchsorted(ends, ends[first] + most, side="right")) - 1
            last = min(max(last, first + 1), first + most, count)
            yield slice(first, last), slice(int(ends[first]), int(ends[last]))
            first = last

    def add(self, part: Part) -> None:
        """Counts all of a part."""
        items = len(part.each[0])
        for some, pairs in self.blocks(max(1, SCORES_AT_ONCE // items)):
            self.add_block(part, some, pairs, self.copies.at(some, pairs, part.start, items))

    def add_block(
        self, part: Part, some: slice, pairs: slice, out: Bool[np.ndarray, "M r n"] | None
    ) -> None:
        """Counts it for some queries, where items that are `out` stay behind."""
        scores = np.stack([self.queries[some] @ rows.T for rows in part.each])
        self.best.add(some, part.start, scores)
        of = self.of[pairs] - some.start
        one_each = np.array_equal(of, np.arange(scores.shape[1]))
        of_pairs = scores if one_each else scores[:, of]
        counts = Counts(*(x[pairs] for x in self.counts))
        count(counts, of_pairs, self.bars[pairs], self.weights, part.lengths, out)


def none(rows: int, weights: Float[np.ndarray, "A M"]) -> Counts:
    ways, count = weights.shape
    mixed, fused = np.zeros((rows, count, 3**count), np.int64), np.zeros((rows, ways, 3), np.int64)
    return Counts(mixed, fused)


def bars(
    queries: Float[np.ndarray, "R D"], own: list[np.ndarray], weights: Float[np.ndarray, "A M"]
) -> Float[np.ndarray, "R M+A"]:
    """The scores of the right documents: in each modality, fused by each row of weights."""
    scores = [np.einsum("rd,rd->r", queries, rows)[:, None] for rows in own]
    fused = weighted(scores, weights.T) / lengths(own, weights).T
    return np.concatenate([*scores, fused], axis=1)


def lengths(
    each: Sequence[Float[np.ndarray, "n D"]], weights: Float[np.ndarray, "A M"]
) -> Float[np.ndarray, "A n"]:
    """‖Σ_m α_m x_m‖ of each item for each row α of weights."""
    found = [np.linalg.norm(weighted(each, row), axis=1) for row in weights]
    return np.maximum(np.reshape(found, (len(weights), len(each[0]))), SMALLEST)


def weighted(each: Sequence[np.ndarray] | np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ_m α_m x_m, from left to right."""
    total: np.ndarray = each[0] * weights[0]
    for x, weight in zip(each[1:], weights[1:], strict=True):
        total += x * weight
    return total


def alone(weights: Sequence[float] | Float[np.ndarray, "M"]) -> int | None:
    """The modality whose own rows documents fused by these weights are: these may be copies."""
    kept = np.flatnonzero(np.asarray(weights))
    return int(kept[0]) if len(kept) == 1 else None


def count(
    counts: Counts,
    scores: Float[np.ndarray, "M r n"],
    bars: Float[np.ndarray, "r M+A"],
    weights: Float[np.ndarray, "A M"],
    lengths: Float[np.ndarray, "A n"],
    out: Bool[np.ndarray, "M r n"] | None,
) -> None:
    """Adds how a chunk's items stand to the right documents; those that are `out` stay behind."""
    modalities, columns = len(scores), scores.shape[2]
    stands = scores if out is None else np.where(out, -np.inf, scores)
    for modality in range(modalities):
        reached = [_reached(each, bars[:, modality, None]) for each in stands]
        exactly = _at_least(reached, columns)
        for axis in range(1, 1 + modalities):
            exactly = -np.diff(exactly, axis=axis, append=0)
        counts.mixed[:, modality] += exactly.reshape(len(bars), -1)
    for place, row in enumerate(weights):
        fused = weighted(scores, row[:, None] / lengths[place])
        if out is not None and (own := alone(row)) is not None:
            fused[out[own]] = -np.inf
        bits = _reached(fused, bars[:, modalities + place, None])
        tied, ahead = _size(bits[TIED]), _size(bits[AHEAD])
        for each, size in ((BEHIND, columns - tied), (TIED, tied - ahead), (AHEAD, ahead)):
            counts.fused[:, place, each] += size


def _at_least(
    reached: Sequence[dict[int, np.ndarray]], columns: int
) -> Int[np.ndarray, "r 3 ... 3"]:
    """How many items reach at least these standings, one of each modality."""
    found = np.full((len(reached[0][TIED]), *[3] * len(reached)), columns)
    for place in np.ndindex(*found.shape[1:]):
        bits = [of[x] for of, x in zip(reached, place, strict=True) if x != BEHIND]
        if bits:
            found[:, *place] = _size(functools.reduce(np.bitwise_and, bits))
    return found


def _reached(
    scores: Float[np.ndarray, "r n"], bar: Float[np.ndarray, "r 1"]
) -> dict[int, np.ndarray]:
    """Which scores are at least tied, and which ahead: a bit each."""
    return {
        each: np.packbits(scores > bar + by, axis=1) for each, by in ((TIED, -TIE), (AHEAD, TIE))
    }


def _size(bits: np.ndarray) -> Int[np.ndarray, "r"]:
    found: np.ndarray = np.bitwise_count(bits).sum(axis=1, dtype=np.int64)
    return found


def _stands(scores: np.ndarray, bars: np.ndarray) -> np.ndarray:
    """The standing of scores to bars."""
    return (scores > bars - TIE).astype(int) + (scores > bars + TIE)


def rivals(
    of: Int[np.ndarray, "R"], bars: Float[np.ndarray, "R M+A"], weights: Float[np.ndarray, "A M"]
) -> Counts:
    """How the other right items of its query stand to each right document."""
    first, last = np.searchsorted(of, of), np.searchsorted(of, of, side="right")
    counts = none(len(bars), weights)
    for step in range(1, int(np.max(last - first, initial=1))):
        # Each with the one that comes so many after it, and the other way round.
        rows = np.flatnonzero(np.arange(len(of)) + step < last)
        for one, other in ((rows, rows + step), (rows + step, rows)):
            added = one_each(bars[other], bars[one], weights)
            counts.mixed[one] += added.mixed
            counts.fused[one] += added.fused
    return counts


def one_each(
    scores: Float[np.ndarray, "r M+A"],
    bars: Float[np.ndarray, "r M+A"],
    weights: Float[np.ndarray, "A M"],
) -> Counts:
    """The counts of one item for each row: its scores in each modality, fused."""
    count = weights.shape[1]
    kinds = zip(_ways(scores, bars, count), (3**count, 3), strict=True)
    return Counts(*((x[..., None] == np.arange(n)).astype(np.int64) for x, n in kinds))


def count_each(
    counts: Counts,
    row: Int[np.ndarray, "e"],
    scores: Float[np.ndarray, "e M+A"],
    bars: Float[np.ndarray, "r M+A"],
) -> None:
    """Adds how single items stand, each to the right document in a row, which may come often."""
    ways = _ways(scores, bars[row], counts.mixed.shape[1])
    for counted, stands in zip(counts, ways, strict=True):
        kinds = np.arange(counted.shape[1])
        places = np.ravel_multi_index((row[:, None], kinds, stands), counted.shape)
        found = np.bincount(places.reshape(-1), minlength=counted.size)
        counted += found.reshape(counted.shape)


def _ways(
    scores: Float[np.ndarray, "r M+A"], bars: Float[np.ndarray, "r M+A"], count: int
) -> tuple[Int[np.ndarray, "r M"], Int[np.ndarray, "r A"]]:
    """How one item stands in each row: to each of M right documents, and fused by each weight."""
    of = [_stands(scores[:, [each]], bars[:, :count]) for each in range(count)]
    return mixed_ranks.standing(*of), _stands(scores[:, count:], bars[:, count:])
