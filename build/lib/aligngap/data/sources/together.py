"""Records of far shards read together: the bytes of a block's records in one request, held for as
long as the records around are read."""

import bisect
from typing import NamedTuple

import numpy as np
from fsspec.utils import merge_offset_ranges
from jaxtyping import UInt64

from aligngap.data import store
from aligngap.data.sources.kept import Kept
from aligngap.data.sources.raw import Place

GAP = 2**21  # Bytes that are rather read in vain than skipped by another request.


class Pieces(NamedTuple):
    """What was read of a shard: the first byte of each piece, in order, and its bytes."""

    starts: list[int]
    contents: list[bytes]

    def at(self, place: Place) -> bytes:
        number = bisect.bisect_right(self.starts, place.offset) - 1
        first = place.offset - self.starts[number]
        return self.contents[number][first : first + place.size]


class Together:
    """The latest blocks of a split in memory: (row, shard, place) → bytes.

    A process reads a block once, unless it held `most` others since.
    """

    def __init__(self, index: np.ndarray, starts: UInt64[np.ndarray, "K+1"], most: int) -> None:
        self._index, self._starts = index, starts
        self._pieces = Kept(self._read, most)

    def read(self, row: int, shard: str, offset: int, size: int) -> bytes:
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._pieces(number, shard).at(Place(offset, size))

    def _read(self, block: int, shard: str) -> Pieces:
        first, last = (int(start) for start in self._starts[block : block + 2])
        offsets = self._index["offset"][first:last].astype(int)
        ends = offsets + self._index["size"][first:last].astype(int)
        given = [shard] * len(offsets), offsets.tolist(), ends.tolist()
        _, starts, stops = merge_offset_ranges(*given, max_gap=GAP)
        contents = [store.read(shard, a, b - a) for a, b in zip(starts, stops, strict=True)]
        return Pieces(starts, contents)


def blocks(index: np.ndarray, size: int) -> UInt64[np.ndarray, "K+1"]:
    """The first row of each block of at most `size` neighbours in one shard, and the number of
    rows. The shards stand in the index in order: where each begins is searched, not read."""
    shards, starts, first = index["shard"], [], 0
    while first < len(index):
        last = bisect.bisect_right(shards, shards[first], lo=first)
        starts.append(np.arange(first, last, size, dtype=np.uint64))
        first = last
    return np.concatenate([*starts, np.array([len(index)], np.uint64)])
