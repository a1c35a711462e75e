"""What a fitted transform does to rows: small pure maps, of arrays that can be saved.

Each has `apply(rows)`, of float64 rows of length 1: `Nothing` where some have no direction
afterwards; and `width(D)`, that of what it makes of them: ValueError where its arrays do not fit D.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from aligngap.errors import AligngapError
from aligngap.gap.unit_rows import named
from aligngap.unit import SMALLEST

COSINES_AT_ONCE = 2**21  # elements of the largest array held: 16 MiB

Rows = Float[np.ndarray, "n D"]


class Nothing(Exception):
    """Rows have no direction after a map, counted from the first one that it was given."""

    def __init__(self, rows: Int[np.ndarray, "B"]) -> None:
        super().__init__()
        self.rows = rows


class Affine(NamedTuple):
    """n((x − origin) · weight + target), n(x) = x / ‖x‖."""

    origin: Float[np.ndarray, "D"]
    weight: Float[np.ndarray, ""] | Float[np.ndarray, "D"] | Float[np.ndarray, "D D"]
    target: Float[np.ndarray, "D"]

    def apply(self, rows: Rows) -> Rows:
        moved = rows - self.origin
        moved = moved @ self.weight if self.weight.ndim == 2 else moved * self.weight
        return _unit(moved + self.target)

    def width(self, before: int) -> int:
        weights = ((), (before,), (before, before))
        if self.origin.shape != (before,) or self.target.shape != (before,):
            raise ValueError
        if self.weight.shape not in weights:
            raise ValueError
        return before


class Graph(NamedTuple):
    """n(Σ_j max(x · r_j, 0) v_j): a row amid fitted rows r of the other side, which have places v.

    Nyström's extension of eigenvectors (Bengio et al. 2004, section 3).
    """

    rows: Float[np.ndarray, "M D"]
    places: Float[np.ndarray, "M K"]

    def apply(self, rows: Rows) -> Float[np.ndarray, "n K"]:
        at_once = max(1, COSINES_AT_ONCE // len(self.rows))
        parts = [
            np.maximum(rows[start : start + at_once] @ self.rows.T, 0) @ self.places
            for start in range(0, len(rows), at_once)
        ]
        return _unit(np.concatenate(parts))

    def width(self, before: int) -> int:
        if self.rows.ndim != 2 or self.rows.shape[1] != before or self.places.ndim != 2:
            raise ValueError
        if len(self.rows) != len(self.places):
            raise ValueError
        return self.places.shape[1]


class Nearest(NamedTuple):
    """n(x + m_i), i the fitted row of the same side that is nearest to x, moved by m_i.

    The extension of a transport plan (Ferradans et al. 2014, section 4; POT's `transform`).
    """

    rows: Float[np.ndarray, "N D"]
    moves: Float[np.ndarray, "N D"]

    def apply(self, rows: Rows) -> Rows:
        at_once = max(1, COSINES_AT_ONCE // len(self.rows))
        nearest = [
            (rows[start : start + at_once] @ self.rows.T).argmax(axis=1)
            for start in range(0, len(rows), at_once)
        ]
        return _unit(rows + self.moves[np.concatenate(nearest)])

    def width(self, before: int) -> int:
        if self.rows.ndim != 2 or self.rows.shape[1] != before:
            raise ValueError
        if self.moves.shape != self.rows.shape:
            raise ValueError
        return before


Map = Affine | Graph | Nearest
KINDS: dict[str, Any] = {
    "affine": Affine,
    "graph": Graph,
    "nearest": Nearest,
}  # what a file may name


def through(
    maps: Sequence[Map], rows: Float[np.ndarray, "n D"], start: int, name: str
) -> Float[np.ndarray, "n K"]:
    """One map after the other, in float64; AligngapError for a row that none is left of, `start`
    being the number of the first and `name` what they are called."""
    changed = rows.astype(np.float64)
    for each in maps:
        try:
            changed = each.apply(changed)
        except Nothing as error:
            raise AligngapError(
                f"{name}: {named(start + error.rows)} without a direction once transformed; fit "
                "the transform on rows like these"
            ) from None
    return changed


def centring(mean: Float[np.ndarray, "D"], weight: np.ndarray | float = 1.0) -> Affine:
    """n((x − mean) · weight)."""
    return Affine(mean, np.asarray(weight, np.float64), np.zeros_like(mean))


def _unit(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=1)
    bad = np.flatnonzero(~(norms > SMALLEST))
    if bad.size:
        raise Nothing(bad)
    return rows / norms[:, None]
