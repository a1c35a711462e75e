"""A modality's embeddings as transforms read them: in chunks, at length 1, as often as is asked."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from aligngap import progress
from aligngap.gap import sources
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

    def chunks(self, doing: str) -> Iterator[Float[np.ndarray, "n D"]]:
        """Float32 rows of length 1; AligngapError names those that are zero or not finite."""
        starts: Iterator[int] = iter(range(0, self.count, GROUPS))
        if self._in_file:
            starts = self._shown(starts, doing)
        for start in starts:
            yield self._unit.at(start, start + GROUPS)

    def all(self) -> Float[np.ndarray, "N D"]:
        """Every row in memory, in float64."""
        return np.concatenate([*self.chunks("Reading")]).astype(np.float64)

    def _shown(self, starts: Iterator[int], doing: str) -> Iterator[int]:
        with progress.Bar(f"{doing} {self.source.title}", self.count, "rows") as bar:
            for start in starts:
                yield start
                bar.advance(min(GROUPS, self.count - start))


def _in_memory(array: np.ndarray, name: str) -> StoredArray:
    return StoredArray(name, array.shape, array.dtype, lambda start, stop: array[start:stop])
