"""Rows of stored embeddings at length 1, and the rows that are none named."""

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from aligngap import progress
from aligngap.errors import AligngapError
from aligngap.gap import sources
from aligngap.gap.sources import StoredArray

UNIT_TOLERANCE = 1e-3
NAMED_ROWS = 5  # bad rows that an error names


class UnitRows:
    """Reads rows at length 1, and says once where they were not; unless `quiet`."""

    def __init__(self, source: StoredArray, quiet: bool = False) -> None:
        self._source, self._said = source, quiet

    def at(self, start: int, stop: int) -> Float[np.ndarray, "n D"]:
        """Those rows, or as many as are left; AligngapError names rows that are no embedding."""
        rows = sources.as_float32(self._source.read(start, stop))
        norms = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
        _refuse(self._source.given, start + np.flatnonzero(~np.isfinite(norms)), "not finite")
        _refuse(self._source.given, start + np.flatnonzero(norms == 0), "zero")
        if not self._said and np.abs(norms - 1).max() > UNIT_TOLERANCE:
            progress.say(f"{self._source.given}: rows were not of length 1; normalised")
            self._said = True
        return (rows / norms[:, None]).astype(np.float32)


def expect_pairs(image: ArrayLike, text: ArrayLike) -> None:
    """AligngapError for arrays that are not [N, D] both, of a pair at least."""
    shapes = np.shape(image), np.shape(text)
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or 0 in shapes[0]:
        words = f"image is {list(shapes[0])} and text {list(shapes[1])}"
        raise AligngapError(f"{words}; expected [N, D] of both, row i of either a pair")


def expect_finite(given: str, rows: Float[np.ndarray, "n D"], start: int = 0) -> None:
    """AligngapError names rows, counted from `start`, that are not finite: no comparison holds
    for a NaN, so its pair would rank first."""
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    _refuse(given, start + bad, "not finite")


def named(rows: np.ndarray) -> str:
    """ "row 3 is", "rows 3, 5 are": how an error begins to speak of them."""
    more = ", ..." if rows.size > NAMED_ROWS else ""
    listed = ", ".join(map(str, rows[:NAMED_ROWS])) + more
    return f"row {rows[0]} is" if rows.size == 1 else f"rows {listed} are"


def _refuse(given: str, bad: np.ndarray, what: str) -> None:
    if bad.size:
        raise AligngapError(f"{given}: {named(bad)} {what}; expected an embedding in every row")
