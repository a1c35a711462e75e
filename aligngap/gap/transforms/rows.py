"""A modality's embeddings as transforms read them: in chunks, at length 1, as often as is asked."""

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, UInt64

from aligngap import progress
from aligngap.gap import copies, sources
from aligngap.gap.sources import StoredArray
from aligngap.gap.streaming import GROUPS
from aligngap.gap.unit_rows import UnitRows

Given = ArrayLike | str | Path | StoredArray  # [N, D] in memory, a file's name, an array of a file


class Rows:
    """Rows [N, D] of an array in memory, or of a file, which is read in each pass with a bar."""

    def __init__(self, given: Given, name: str) -> None:
        """`name` is what errors call an array; AligngapError where there are no embeddings."""
        self._in_file = isinstance(given, str | Path | StoredArray)
        if isinstance(given, str | Path):
            self.source = sources.embeddings(given)
        elif isinstance(given, StoredArray):
            self.source = given
        else:
            self.source = sources.expect_embeddings(_in_memory(np.asarray(given), name))
        self.count, self.width = self.source.shape
        self._unit = UnitRows(self.source, quiet=not self._in_file)
        self._kept: Bool[np.ndarray, "N"] | None = None

    def chunks(self, doing: str) -> Iterator[Float[np.ndarray, "n D"]]:
        """Float32 rows of length 1; AligngapError names those that are zero or not finite."""
        starts: Iterator[int] = iter(range(0, self.source.shape[0], GROUPS))
        if self._in_file:
            starts = self._shown(starts, doing)
        for start in starts:
            rows = self._unit.at(start, start + GROUPS)
            if self._kept is not None:
                rows = rows[self._kept[start : start + GROUPS]]
            if len(rows):
                yield rows

    def only(self, kept: Bool[np.ndarray, "N"]) -> "Rows":
        """Those of them."""
        found = copy.copy(self)
        found._kept, found.count = kept, int(kept.sum())
        return found

    def all(self) -> Float[np.ndarray, "N D"]:
        """Every row in memory, in float64."""
        return np.concatenate([*self.chunks("Reading")]).astype(np.float64)

    def _shown(self, starts: Iterator[int], doing: str) -> Iterator[int]:
        count = self.source.shape[0]
        with progress.Bar(f"{doing} {self.source.title}", count, "rows") as bar:
            for start in starts:
                yield start
                bar.advance(min(GROUPS, count - start))


def distinct(clouds: Sequence[Rows]) -> list[Rows]:
    """The same without rows that equal one before them; of several clouds, row i of all being one
    item, without those that do so in all."""
    kept = copies.first(copies.numbered(*map(_digests, clouds)))
    return [rows.only(kept) for rows in clouds]


def _digests(rows: Rows) -> UInt64[np.ndarray, "N"]:
    doing = "Looking for copies in"
    return np.concatenate([copies.digests(chunk) for chunk in rows.chunks(doing)])


def _in_memory(array: np.ndarray, name: str) -> StoredArray:
    return StoredArray(name, array.shape, array.dtype, lambda start, stop: array[start:stop])
