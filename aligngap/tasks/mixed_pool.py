"""One pass over the items of a mixed pool, a chunk at a time: how each stands to the right ones."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from aligngap.errors import AligngapError
from aligngap.tasks import mixed_counts, mixed_ranks, standings
from aligngap.tasks.first_places import Best
from aligngap.tasks.mixed_copies import Copies
from aligngap.tasks.mixed_counts import Counts, Part, Tally
from aligngap.tasks.mixed_device import OnDevice

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
    bars = mixed_counts.bars(queries[right.query], own, weights)
    tally = Tally(
        queries,
        right.query,
        bars,
        weights,
        mixed_counts.none(len(bars), weights),
        Best(len(queries), len(names), min(depth, items)),
        Copies(right.query, right.item, right.rows),
    )
    many = len(bars) * items >= standings.ON_DEVICE_FROM
    count = OnDevice(tally).add if many else tally.add
    for part in _parts(chunks(), weights, names):
        count(part)
    rivals = mixed_counts.rivals(right.query, bars, weights)
    itself = mixed_counts.one_each(bars, bars, weights)
    others = Counts(*(x - y - z for x, y, z in zip(tally.counts, rivals, itself, strict=True)))
    best_items, best_scores = tally.best.found()
    return Seen(
        items,
        others.mixed,
        rivals.mixed,
        others.fused,
        rivals.fused,
        best_items,
        best_scores,
        tally.copies.all_tied(items),
    )


def _parts(
    chunks: Iterable[Chunk], weights: Float[np.ndarray, "A M"], names: Sequence[str]
) -> Iterator[Part]:
    start = 0
    for chunk in chunks:
        each = [np.asarray(rows, np.float64) for rows in chunk]
        for name, rows in zip(names, each, strict=True):
            _check(rows, name, start)
        yield Part(start, each, mixed_counts.lengths(each, weights))
        start += len(each[0])


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


def _check(rows: np.ndarray, what: str, start: int) -> None:
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        raise AligngapError(f"{what} {start + bad[0]} is not finite: nothing to rank")
