"""One pass over the items of a mixed pool, a chunk at a time: how each stands to the right ones."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from aligngap.errors import AligngapError
from aligngap.tasks import mixed_ranks
from aligngap.tasks.first_places import Best
from aligngap.tasks.mixed_copies import Copies
from aligngap.tasks.mixed_ranks import AHEAD, BEHIND, TIED
from aligngap.tasks.standings import TIE
from aligngap.unit import SMALLEST

SCORES_AT_ONCE = 2**19  # elements of the largest arrays held: 4 MiB, which a core's cache has

PAIR = ("image", "text")

# Rows [n, D] of the next items in each of M modalities (images, texts), L2-normalised; called for
# each pass over the pool. Of images and texts, an item without one has the other in its place.
Chunk = tuple[Float[np.ndarray, "n D"], ...]
Chunks = Callable[[], Iterable[Chunk]]


@dataclasses.dataclass(frozen=True)
class Right:
    """What is right for queries: R pairs of a query and an item, by query, with grades above 0; of
    all N items numbers of their rows, equal ones for equal rows (without: none are)."""

    query: Int[np.ndarray, "R"]
    item: Int[np.ndarray, "R"]
    grade: Float[np.ndarray, "R"]
    rows: Int[np.ndarray, "N M"] | None = None

    @classmethod
    def own(cls, count: int) -> "Right":
        """Query i has item i alone."""
        return cls(np.arange(count), np.arange(count), np.ones(count))


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a pass has seen. Of the R right documents in each of M modalities, and fused by each of
    A weights, how many items stand how; of each query its L best renderings of each modality."""

    items: int
    others: Int[np.ndarray, "R M 3**M"]  # That are not right for the query.
    right: Int[np.ndarray, "R M 3**M"]  # That are right, too.
    fused_others: Int[np.ndarray, "R A 3"]
    fused_right: Int[np.ndarray, "R A 3"]
    best_items: Int[np.ndarray, "Q M L"]
    best_scores: Float[np.ndarray, "Q M L"]
    all_tied: Int[np.ndarray, "R 3**M"] | None  # `others` of a random order, if there are copies.

    def only(self, *kept: int) -> "Seen":
        """As if items had some of the modalities alone, named in order."""
        count, of = self.others.shape[1], list(kept)
        others, right = (mixed_ranks.only(x[:, of], count, kept) for x in (self.others, self.right))
        tied = None if self.all_tied is None else mixed_ranks.only(self.all_tied, count, kept)
        return dataclasses.replace(
            self,
            others=others,
            right=right,
            best_items=self.best_items[:, of],
            best_scores=self.best_scores[:, of],
            all_tied=tied,
        )


class _Counts(NamedTuple):
    """How many items stand how to each of r right documents."""

    mixed: Int[np.ndarray, "r M 3**M"]
    fused: Int[np.ndarray, "r A 3"]


def chunks_of(*modalities: Float[np.ndarray, "N D"], rows: int = 4096) -> Chunks:
    """Those of arrays in memory: images, texts and what else."""

    def chunks() -> Iterator[Chunk]:
        for start in range(0, len(modalities[0]), rows):
            yield tuple(each[start : start + rows] for each in modalities)

    return chunks


def scan(
    chunks: Chunks,
    queries: Float[np.ndarray, "Q D"],
    right: Right,
    weights: Float[np.ndarray, "A M"],
    depth: int,
    names: Sequence[str] = PAIR,
) -> Seen:
    """Two passes: of the right documents' rows, then of all. `weights` of the M modalities in fused
    documents; `depth`: L. AligngapError for a row that is not finite, of one of `names`."""
    queries = np.asarray(queries, np.float64)
    _check(queries, "query", 0)
    items, own = _wanted(chunks(), right.item, len(names))
    bars = _bars(queries[right.query], own, weights)
    counts = _none(len(bars), weights)
    best = Best(len(queries), len(names), min(depth, items))
    copies = Copies(right.query, right.item, right.rows)
    start = 0
    for chunk in chunks():
        each = [np.asarray(rows, np.float64) for rows in chunk]
        for name, rows in zip(names, each, strict=True):
            _check(rows, name, start)
        lengths = _lengths(each, weights)
        for some, pairs in _blocks(right.query, len(queries), len(each[0])):
            scores = np.stack([queries[some] @ rows.T for rows in each])
            best.add(some, start, scores)
            of = right.query[pairs] - some.start
            one_each = np.array_equal(of, np.arange(scores.shape[1]))
            some_counts = _Counts(*(x[pairs] for x in counts))
            of_pairs = scores if one_each else scores[:, of]
            out = copies.at(some, pairs, start, len(each[0]))
            _count(some_counts, of_pairs, bars[pairs], weights, lengths, out)
        start += len(each[0])
    rivals, itself = _rivals(right.query, bars, weights), _one_each(bars, bars, weights)
    others = _Counts(*(x - y - z for x, y, z in zip(counts, rivals, itself, strict=True)))
    return Seen(
        items,
        others.mixed,
        rivals.mixed,
        others.fused,
        rivals.fused,
        best.items,
        best.scores,
        copies.all_tied(items),
    )


def _none(rows: int, weights: Float[np.ndarray, "A M"]) -> _Counts:
    ways, count = weights.shape
    mixed, fused = np.zeros((rows, count, 3**count), np.int64), np.zeros((rows, ways, 3), np.int64)
    return _Counts(mixed, fused)


def _wanted(
    chunks: Iterable[Chunk], items: Int[np.ndarray, "R"], modalities: int
) -> tuple[int, list[np.ndarray]]:
    """(how many items there are, rows [R, D] of these in each modality)."""
    order = np.argsort(items, kind="stable")
    ordered, start = items[order], 0
    found: list[list[np.ndarray]] = [[] for _ in range(modalities)]
    for chunk in chunks:
        first, last = np.searchsorted(ordered, [start, start + len(chunk[0])])
        for rows, kept in zip(chunk, found, strict=True):
            kept.append(np.asarray(rows[ordered[first:last] - start], np.float64))
        start += len(chunk[0])
    back = np.argsort(order)
    return start, [np.concatenate(kept)[back] for kept in found]


def _bars(
    queries: Float[np.ndarray, "R D"], own: list[np.ndarray], weights: Float[np.ndarray, "A M"]
) -> Float[np.ndarray, "R M+A"]:
    """The scores of the right documents: in each modality, fused by each row of weights."""
    scores = [np.einsum("rd,rd->r", queries, rows)[:, None] for rows in own]
    fused = _weighted(scores, weights.T) / _lengths(own, weights).T
    return np.concatenate([*scores, fused], axis=1)


def _lengths(
    each: Sequence[Float[np.ndarray, "n D"]], weights: Float[np.ndarray, "A M"]
) -> Float[np.ndarray, "A n"]:
    """‖Σ_m α_m x_m‖ of each item for each row α of weights."""
    found = [np.linalg.norm(_weighted(each, row), axis=1) for row in weights]
    return np.maximum(np.reshape(found, (len(weights), len(each[0]))), SMALLEST)


def _weighted(each: Sequence[np.ndarray] | np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ_m α_m x_m, from left to right."""
    total: np.ndarray = each[0] * weights[0]
    for x, weight in zip(each[1:], weights[1:], strict=True):
        total += x * weight
    return total


def _blocks(of: Int[np.ndarray, "R"], queries: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Some queries, and their pairs; few enough pairs for the memory."""
    ends = np.searchsorted(of, np.arange(queries + 1))
    most, first = max(1, SCORES_AT_ONCE // columns), 0
    while first < queries:
        last = int(np.searchsorted(ends, ends[first] + most, side="right")) - 1
        last = min(max(last, first + 1), first + most, queries)
        yield slice(first, last), slice(int(ends[first]), int(ends[last]))
        first = last


def _count(
    counts: _Counts,
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
        fused = _weighted(scores, row[:, None] / lengths[place])
        if out is not None and len(alone := np.flatnonzero(row)) == 1:  # A modality's own rows.
            fused[out[alone[0]]] = -np.inf
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


def _rivals(
    of: Int[np.ndarray, "R"], bars: Float[np.ndarray, "R M+A"], weights: Float[np.ndarray, "A M"]
) -> _Counts:
    """How the other right items of its query stand to each right document."""
    first, last = np.searchsorted(of, of), np.searchsorted(of, of, side="right")
    counts = _none(len(bars), weights)
    for step in range(1, int((last - first).max(initial=1))):
        # Each with the one that comes so many after it, and the other way round.
        rows = np.flatnonzero(np.arange(len(of)) + step < last)
        for one, other in ((rows, rows + step), (rows + step, rows)):
            added = _one_each(bars[other], bars[one], weights)
            counts.mixed[one] += added.mixed
            counts.fused[one] += added.fused
    return counts


def _one_each(
    scores: Float[np.ndarray, "r M+A"],
    bars: Float[np.ndarray, "r M+A"],
    weights: Float[np.ndarray, "A M"],
) -> _Counts:
    """The counts of one item for each row: its scores in each modality, fused."""
    count = weights.shape[1]
    of = [_stands(scores[:, [each]], bars[:, :count]) for each in range(count)]
    fused = _stands(scores[:, count:], bars[:, count:])
    kinds = (mixed_ranks.standing(*of), 3**count), (fused, 3)
    return _Counts(*((x[..., None] == np.arange(n)).astype(np.int64) for x, n in kinds))


def _check(rows: np.ndarray, what: str, start: int) -> None:
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        raise AligngapError(f"{what} {start + bad[0]} is not finite: nothing to rank")
