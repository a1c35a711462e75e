"""Main effects and interactions of parts that are there or not, in all combinations.

Box, Hunter & Hunter, Statistics for Experimenters (2nd ed. 2005), chapter 5: of a two-level
factorial design each effect is a difference of two means over half of the cells each.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from aligngap.intervals import CONFIDENCE, Interval

Cell = tuple[bool, ...]  # Which parts are there.
Effect = tuple[int, ...]  # The parts whose effect or interaction it is.


def effects(cells: Mapping[Cell, Sequence[float] | np.ndarray]) -> dict[Effect, Interval]:
    """Of each part, and of each two; an interaction is half of what one part changes in the
    other's effect. Intervals and errors as `changes`."""
    design, runs = _runs(cells)
    parts = range(len(design[0]))
    signs = np.where(np.array(design), 1.0, -1.0)
    chosen: list[Effect] = [(part,) for part in parts]
    chosen += itertools.combinations(parts, 2)
    return {x: _contrast(runs, 2 * signs[:, x].prod(axis=1) / len(design)) for x in chosen}


def changes(cells: Mapping[Cell, Sequence[float] | np.ndarray], base: Cell) -> dict[int, Interval]:
    """Of each part: the mean of `base` with that part alone added, or left out, minus base's.

    95 % by Student's t, with the variance of runs of one cell, pooled over cells; ends are nan
    where no cell has two runs. ValueError where a cell is missing or empty.
    """
    design, runs = _runs(cells)

    def weights(part: int) -> np.ndarray:
        changed = tuple(x != (n == part) for n, x in enumerate(base))
        return np.array([(cell == changed) - (cell == base) for cell in design], np.float64)

    return {part: _contrast(runs, weights(part)) for part in range(len(base))}


def _runs(
    cells: Mapping[Cell, Sequence[float] | np.ndarray],
) -> tuple[list[Cell], list[np.ndarray]]:
    """All cells of the design, and the runs of each."""
    parts = len(next(iter(cells), ()))
    design: list[Cell] = [*itertools.product((False, True), repeat=parts)]
    if not parts or any(not len(cells.get(cell, ())) for cell in design):
        raise ValueError(f"of {2**parts} cells some have no run")
    return design, [np.asarray(cells[cell], np.float64) for cell in design]


def _contrast(runs: Sequence[np.ndarray], weights: np.ndarray) -> Interval:
    """The weighted sum of the cells' means."""
    counts = np.array([len(x) for x in runs])
    value = float(weights @ [x.mean() for x in runs])
    freedom = int((counts - 1).sum())
    if not freedom:
        return Interval(value, math.nan, math.nan)
    variance = sum(float(((x - x.mean()) ** 2).sum()) for x in runs) / freedom
    error = math.sqrt(variance * float((weights**2 / counts).sum()))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    return Interval(value, value - reach, value + reach)
