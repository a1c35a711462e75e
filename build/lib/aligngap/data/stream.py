"""Where element i of the endless stream lies: a pure function of (seed, i), whatever reads it.

Each corpus has an endless order of its own; a mixture says whose turn is at i, and how many turns
that corpus has had before.
"""

import functools
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import grain
import numpy as np
from jaxtyping import Int, UInt64

PARTS = 10**6  # Weights are compared in so many parts of their sum: whole numbers do not drift.


class Place(NamedTuple):
    """A record: the number of its corpus among those trained on, and its row in the split."""

    corpus: int
    row: int


class Order(Protocol):
    """The rows of one corpus, epoch after epoch."""

    def __getitem__(self, index: int) -> int: ...


@dataclass(frozen=True)
class Shuffled:
    """Every row once an epoch, in an order of all of them: Grain's."""

    length: int
    seed: int

    def __getitem__(self, index: int) -> int:
        return int(self._rows[index])

    @functools.cached_property
    def _rows(self) -> Any:
        return grain.MapDataset.range(self.length).seed(self.seed).shuffle().repeat()


@dataclass(frozen=True)
class Drawn:
    """Rows drawn with replacement: there are no epochs."""

    length: int
    seed: int

    def __getitem__(self, index: int) -> int:
        random = np.random.Generator(np.random.Philox(key=self.seed, counter=index))
        return int(random.integers(self.length))


@dataclass(frozen=True)
class Blocks:
    """Every row once an epoch: blocks of neighbours in random order, rows shuffled within a window
    of blocks. Whoever reads it reads long runs, and holds a window in memory at a time."""

    starts: UInt64[np.ndarray, "K+1"]  # The first row of each block, and the number of rows.
    window: int  # Blocks.
    seed: int
    # An instance's own, and not sent to other processes.
    _epochs: Any = field(default_factory=lambda: {}, repr=False, compare=False)

    def __getitem__(self, index: int) -> int:
        epoch, place = divmod(index, int(self.starts[-1]))
        order, ends, windows = self._epoch(epoch)
        window = int(np.searchsorted(ends, place, side="right"))
        before = int(ends[window - 1]) if window else 0
        return int(self._window(epoch, window, order, windows)[place - before])

    def _epoch(
        self, epoch: int
    ) -> tuple[Int[np.ndarray, "K"], Int[np.ndarray, "W"], dict[int, np.ndarray]]:
        """(order of the blocks, how many rows the windows up to each have, windows by number)."""
        # Looked up once: another thread may forget what this one is about to use.
        found = self._epochs.get(epoch)
        if found is None:
            order = _random(self.seed, epoch, 0).permutation(len(self.starts) - 1)
            sizes = np.diff(self.starts.astype(np.int64))[order]
            last = np.arange(self.window, len(order) + self.window, self.window).clip(
                max=len(order)
            )
            found = order, np.cumsum(sizes)[last - 1], {}
            _remember(self._epochs, epoch, found)
        order, ends, windows = found
        return order, ends, windows

    def _window(
        self, epoch: int, window: int, order: np.ndarray, windows: dict[int, np.ndarray]
    ) -> Int[np.ndarray, "N"]:
        """The rows of a window in their order."""
        found = windows.get(window)
        if found is None:
            blocks = order[window * self.window : (window + 1) * self.window]
            rows = np.concatenate(
                [np.arange(*self.starts[block : block + 2].astype(np.int64)) for block in blocks]
            )
            found = _random(self.seed, epoch, window + 1).permutation(rows)
            _remember(windows, window, found)
        return found

    def __reduce__(self) -> Any:
        return Blocks, (self.starts, self.window, self.seed)


class Segment(NamedTuple):
    """From element `first` on corpora take turns by these weights; each has had `before` turns."""

    first: int
    weights: tuple[int, ...]
    before: tuple[int, ...]


def segments(schedule: Sequence[tuple[int, Sequence[float]]]) -> list[Segment]:
    """((first element, weights), ...) in order, the first from 0 on."""
    found: list[Segment] = []
    for first, weights in schedule:
        whole = tuple(round(PARTS * weight / sum(weights)) for weight in weights)
        before = tuple(0 for _ in weights)
        if found:
            before = tuple(turns_before(found, first))
        found.append(Segment(first, whole, before))
    return found


def turns_within(weights: Sequence[int], count: int) -> list[int]:
    """How many of the first `count` elements are each corpus's: of the first corpus its share
    rounded, of the rest in the same way those that are left."""
    turns, left = [], count
    for number, weight in enumerate(weights):
        rest = sum(weights[number:])
        turns.append((2 * left * weight + rest) // (2 * rest) if rest else 0)
        left -= turns[-1]
    return turns


def turn(weights: Sequence[int], index: int) -> tuple[int, int]:
    """(whose turn element `index` is, how many turns that corpus has had before)."""
    now, after = turns_within(weights, index), turns_within(weights, index + 1)
    corpus = next(c for c, (a, b) in enumerate(zip(now, after, strict=True)) if b > a)
    return corpus, now[corpus]


def segment_of(segments: Sequence[Segment], index: int) -> Segment:
    """The one that element `index` lies in."""
    later = (number for number, segment in enumerate(segments) if segment.first > index)
    return segments[next(later, len(segments)) - 1]


def turns_before(segments: Sequence[Segment], index: int) -> list[int]:
    """How many of the elements before `index` are each corpus's."""
    segment = segment_of(segments, index)
    turns = turns_within(segment.weights, index - segment.first)
    return [before + own for before, own in zip(segment.before, turns, strict=True)]


@dataclass(frozen=True)
class Mixed(Sequence[Place]):
    """The stream of several corpora, or of one in an order other than Grain's own."""

    orders: Sequence[Order]
    segments: Sequence[Segment]

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: Any) -> Any:
        segment = segment_of(self.segments, int(index))
        corpus, turns = turn(segment.weights, int(index) - segment.first)
        return Place(corpus, self.orders[corpus][segment.before[corpus] + turns])

    def __repr__(self) -> str:
        return f"Mixed({len(self.orders)} corpora)"


def even_blocks(length: int, size: int) -> UInt64[np.ndarray, "K+1"]:
    """Blocks of `size` rows; the last may have fewer."""
    return np.minimum(np.arange(0, length + size, size, dtype=np.uint64), np.uint64(length))


def _random(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _remember(known: dict[int, Any], number: int, value: Any) -> None:
    """Keeps the latest few: threads read a little ahead, and around the end of an epoch."""
    for old in list(itertools.islice(known, max(0, len(known) - 3))):
        known.pop(old, None)
    known[number] = value
