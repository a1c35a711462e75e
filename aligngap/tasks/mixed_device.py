"""How the items of a large mixed pool stand to right documents, counted in float32.

The device compares all scores with those of the right documents. What is farther from them than
float32 can err is counted there; of the rest it says which items these are, and so of those that
may be among a query's best. These few are looked at in float64, so that the numbers are those of
float64 throughout.
"""

import functools
import itertools
import operator
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt

from aligngap.tasks import mixed_counts, mixed_ranks
from aligngap.tasks.mixed_counts import Counts, Part, Tally
from aligngap.tasks.mixed_ranks import AHEAD, BEHIND
from aligngap.tasks.standings import TIE, float32_error, longest, on_one_device

PAIRS, ITEMS = 256, 4096  # A block of the device: its scores stay in a cache.
OPEN = 1  # The bit of an item that stands too near to a right document; the next: among the best?
FLAGS = 31  # In a word beside that bit.
TILE = 32  # Items that are counted in one step.
TWO = 0x00010001  # Two counters in a word.
ROWS_AT_ONCE = 2**20  # Elements of rows that are gathered for single pairs: 8 MiB.


class _Block(NamedTuple):
    """Some queries, their pairs, who is out, and what the device says of them."""

    some: slice
    pairs: slice
    out: Bool[np.ndarray, "M r n"] | None
    sums: Int[Array, "B p"]
    marks: UInt[Array, "n p"]


class OnDevice:
    """Adds parts of a pool to a tally."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._weights = tuple(map(tuple, tally.weights.tolist()))
        self._blocks = list(tally.blocks(PAIRS))
        self._longest = longest(tally.queries)
        self._highest = float(np.max(abs(tally.bars), initial=0))
        with on_one_device():
            self._rows = [
                jax.device_put(
                    [_filled(tally.queries[tally.of[pairs]]), _filled(tally.bars[pairs]).T]
                )
                for _, pairs in self._blocks
            ]

    def add(self, part: Part) -> None:
        """Counts all of a part, a block beside the one that is looked at."""
        with on_one_device():
            for start in range(0, len(part.each[0]), ITEMS):
                some = slice(start, start + ITEMS)
                each, lengths = [rows[some] for rows in part.each], part.lengths[:, some]
                self._add(Part(part.start + start, each, lengths))

    def _add(self, part: Part) -> None:
        blocks = self._counted(part)
        ahead = next(blocks, None)
        while (block := ahead) is not None:
            ahead = next(blocks, None)
            self._take(part, block)

    def _counted(self, part: Part) -> Iterator[_Block]:
        """Each is begun as it is asked for, and done some time later."""
        tally = self._tally
        each = [rows.astype(np.float32) for rows in part.each]
        columns = jax.device_put([each, part.lengths.astype(np.float32).T])
        error, slack = self._errors(part)
        for (some, pairs), rows in zip(self._blocks, self._rows, strict=True):
            out = tally.copies.at(some, pairs, part.start, len(each[0]))
            masks = None if out is None else [_filled(x).T for x in out]
            least = np.full((rows[0].shape[0], len(each)), np.inf, np.float32)
            # A query's scores are those of its first pair.
            queries, first = np.unique(tally.of[pairs], return_index=True)
            least[first] = tally.best.least[queries] - error
            words = _words(self._weights, rows, columns, least.T, slack, masks)
            yield _Block(some, pairs, out, *_sums(words, len(each)))

    def _errors(self, part: Part) -> tuple[float, float]:
        """How far scores may be off, and what they are compared with, fused or not."""
        modalities, width = len(part.each), self._tally.queries.shape[1]
        score = self._longest * max(map(longest, part.each))
        most = float(np.max(abs(self._tally.weights).sum(axis=1), initial=1))
        length = float(np.max(part.lengths, initial=1))
        # The weighted sum, and the product of the right document's score and the length.
        steps, reach = 2 * modalities + 6, max(most * score, self._highest * length)
        return float32_error(width, score), TIE * length + float32_error(width + steps, reach)

    def _take(self, part: Part, block: _Block) -> None:
        tally, (some, pairs) = self._tally, (block.some, block.pairs)
        item, row, marks = _marked(np.asarray(block.marks), pairs.stop - pairs.start)
        open_ = np.flatnonzero(marks & OPEN)
        size = len(part.each[0]) * (pairs.stop - pairs.start)
        # All products in float64 cost less than many single ones.
        if len(open_) > size / 16 or len(item) > size / 4:
            tally.add_block(part, some, pairs, block.out)
            return
        counts = Counts(*(x[pairs] for x in tally.counts))
        _add_sums(counts, np.asarray(block.sums)[:, : pairs.stop - pairs.start])
        of = tally.of[pairs]
        mixed_counts.count_each(
            counts,
            row[open_],
            self._scores(part, of[row[open_]], item[open_], row[open_], block.out),
            tally.bars[pairs],
        )
        for modality, rows in enumerate(part.each):
            best = np.flatnonzero(marks >> 1 + modality & 1)
            scores = _products(tally.queries, of[row[best]], rows, item[best])
            tally.best.take(modality, of[row[best]], part.start + item[best], scores)

    def _scores(
        self,
        part: Part,
        query: Int[np.ndarray, "e"],
        item: Int[np.ndarray, "e"],
        row: Int[np.ndarray, "e"],
        out: Bool[np.ndarray, "M r n"] | None,
    ) -> Float[np.ndarray, "e M+A"]:
        """Of single pairs in float64, in each modality and fused."""
        tally = self._tally
        scores = np.stack([_products(tally.queries, query, rows, item) for rows in part.each])
        fused = mixed_counts.weighted(scores[..., None], tally.weights.T[:, None])
        fused /= part.lengths[:, item].T
        if out is not None:
            gone = out[:, row, item]
            scores[gone] = -np.inf
            for place, weights in enumerate(tally.weights):
                if (modality := mixed_counts.alone(weights)) is not None:
                    fused[gone[modality], place] = -np.inf
        return np.concatenate([scores.T, fused], axis=1)


def _products(
    one: Float[np.ndarray, "N D"],
    rows: Int[np.ndarray, "e"],
    other: Float[np.ndarray, "M D"],
    columns: Int[np.ndarray, "e"],
) -> Float[np.ndarray, "e"]:
    step = max(1, ROWS_AT_ONCE // one.shape[1])
    parts = [slice(at, at + step) for at in range(0, len(rows), step)]
    found = [np.einsum("ed,ed->e", one[rows[part]], other[columns[part]]) for part in parts]
    return np.concatenate([np.empty(0), *found])


def _filled(rows: np.ndarray) -> np.ndarray:
    """Up to a multiple of PAIRS, so that few shapes are compiled."""
    kind = rows.dtype if rows.dtype == bool else np.float32
    return np.pad(rows.astype(kind), ((0, -len(rows) % PAIRS), (0, 0)))


def _subsets(modalities: int) -> list[tuple[int, ...]]:
    """Those of one first."""
    every = range(1, modalities + 1)
    return [kept for n in every for kept in itertools.combinations(range(modalities), n)]


@functools.partial(jax.jit, static_argnums=0)
def _words(
    weights: tuple[tuple[float, ...], ...],
    rows: list[Array],
    columns: list[Array],
    least: Float[Array, "M p"],
    slack: Float[Array, ""],
    out: list[Array] | None,
) -> list[UInt[Array, "n p"]]:
    """What holds of an item for a pair, a bit each: it may be among the best in each modality; for
    each right document it is ahead of it in each set of modalities; fused by each row of weights.
    The first bit of a word says that for one of its own this is not sure."""
    (x, bars), (each, lengths) = rows, columns
    scores = [jnp.matmul(y, x.T, precision=jax.lax.Precision.HIGHEST) for y in each]
    # Each flag, and how far it is from being another one.
    flags: list[tuple[Array, Array | None]] = [
        (score >= bound, None) for score, bound in zip(scores, least, strict=True)
    ]

    def gap(score: Array, bar: Array, modality: int | None) -> Array:
        if out is None or modality is None:
            return score - bar
        return jnp.where(out[modality], -jnp.inf, score - bar)

    for bar in bars[: len(scores)]:
        gaps = [gap(score, bar, modality) for modality, score in enumerate(scores)]
        for kept in _subsets(len(scores)):
            ahead = functools.reduce(jnp.logical_and, [gaps[m] >= 0 for m in kept])
            flags.append((ahead, gaps[kept[0]] if len(kept) == 1 else None))
    for place, row in enumerate(weights):
        terms = [score * weight for score, weight in zip(scores, row, strict=True) if weight]
        fused = functools.reduce(operator.add, terms)
        bar = bars[len(scores) + place] * lengths[:, place, None]
        found = gap(fused, bar, mixed_counts.alone(row))
        flags.append((found >= 0, found))
    return [_word(flags[at : at + FLAGS], slack) for at in range(0, len(flags), FLAGS)]


def _word(flags: Sequence[tuple[Array, Array | None]], slack: Array) -> UInt[Array, "n p"]:
    gaps = [abs(gap) for _, gap in flags if gap is not None]
    nearest = functools.reduce(jnp.minimum, gaps, jnp.asarray(jnp.inf))
    open_ = ~(nearest > slack)  # What is not a number is not sure.
    bits = [flag.astype(jnp.uint32) << place for place, (flag, _) in enumerate(flags, 1)]
    return functools.reduce(jnp.bitwise_or, bits, open_.astype(jnp.uint32))


@functools.partial(jax.jit, static_argnums=1)
def _sums(words: list[UInt[Array, "n p"]], modalities: int) -> tuple[Array, Array]:
    """Of how many items each flag holds for a pair, those left out that are not sure of one (and
    first how many are left); and the marks of the rest. A program of its own: XLA would work out
    the words again for each of the sums."""
    some_open = functools.reduce(jnp.bitwise_or, words) & OPEN
    best = (2 << modalities) - 2
    marks = (words[0] & best | some_open).astype(jnp.uint8)
    tiles = []
    for word in words:
        kept = jnp.where(some_open == OPEN, 0, word | 1)
        kept = jnp.pad(kept, ((0, -len(kept) % TILE), (0, 0)))
        tiles.append(kept.reshape(-1, TILE, kept.shape[1]))
    shifts = jnp.arange(16, dtype=jnp.uint32)[:, None]

    # A loop, not a sum over an axis: that takes CPUs ten times as long.
    def add(tile: Array, sums: list[Array]) -> list[Array]:
        rows = [[word[tile, row] >> shifts & TWO for row in range(TILE)] for word in tiles]
        return [total + sum(each) for total, each in zip(sums, rows, strict=True)]

    none = [jnp.zeros((16, word.shape[1]), jnp.uint32) for word in words]
    sums = jax.lax.fori_loop(0, len(tiles[0]), add, none)
    by_bit = [jnp.concatenate([x & 0xFFFF, x >> 16])[min(at, 1) :] for at, x in enumerate(sums)]
    return jnp.concatenate(by_bit), marks


def _add_sums(counts: Counts, sums: Int[np.ndarray, "B r"]) -> None:
    """Adds what the device counted: no item ties with a right document there."""
    modalities, ways = counts.mixed.shape[1], counts.fused.shape[1]
    sums, subsets = sums.astype(np.int64), _subsets(modalities)
    items, ahead = sums[0], sums[1 + modalities :]
    for right in range(modalities):
        at_least = np.empty((*[2] * modalities, len(items)), np.int64)
        at_least[(0,) * modalities] = items
        for kept, found in zip(subsets, ahead[right * len(subsets) :], strict=False):
            at_least[tuple(int(m in kept) for m in range(modalities))] = found
        for axis in range(modalities):
            at_least = -np.diff(at_least, axis=axis, append=0)
        for way in itertools.product((0, 1), repeat=modalities):
            place = mixed_ranks.standing(*((BEHIND, AHEAD)[each] for each in way))
            counts.mixed[:, right, place] += at_least[way]
    fused = ahead[modalities * len(subsets) :][:ways].T
    counts.fused[..., AHEAD] += fused
    counts.fused[..., BEHIND] += items[:, None] - fused


def _marked(
    marks: UInt[np.ndarray, "n p"], pairs: int
) -> tuple[Int[np.ndarray, "e"], Int[np.ndarray, "e"], UInt[np.ndarray, "e"]]:
    """(item, pair, marks) of those that have some, by item."""
    eights = marks.reshape(-1, 8)
    some = np.flatnonzero(eights.view(np.uint64))  # Most have none: eight at a time.
    which, byte = np.nonzero(eights[some])
    item, row = np.divmod(some[which] * 8 + byte, marks.shape[1])
    kept = row < pairs
    return item[kept], row[kept], marks[item[kept], row[kept]]
