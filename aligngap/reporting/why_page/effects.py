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
    other's effect.

    95 % by Student's t, with the variance of runs of one cell, pooled over cells; ends are nan
    where no cell has two runs. ValueError where a cell is missing or empty.
    """
    parts = len(next(iter(cells), ()))
    design = list(itertools.product((False, True), repeat=parts))
    if not parts or any(not len(cells.get(cell, ())) for cell in design):
        raise ValueError(f"of {2**parts} cells some have no run")
    runs = [np.asarray(cells[cell], np.float64) for cell in design]
    means, counts = np.array([x.mean() for x in runs]), np.array([len(x) for x in runs])
    error = _variance(runs) * float((1 / counts).sum()) * (2 / len(design)) ** 2
    freedom = int((counts - 1).sum())
    reach = (
        float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(error)
        if freedom
        else math.nan
    )
    signs = np.where(np.array(design), 1.0, -1.0)
    found: dict[Effect, Interval] = {}
    for effect in [(i,) for i in range(parts)] + list(itertools.combinations(range(parts), 2)):
        value = float(2 * np.mean(signs[:, effect].prod(axis=1) * means))
        found[effect] = Interval(value, value - reach, value + reach)
    return found


def _variance(runs: Sequence[np.ndarray]) -> float:
    """Of runs of one cell; nan where none has two."""
    freedom = sum(len(x) - 1 for x in runs)
    return sum(float(((x - x.mean()) ** 2).sum()) for x in runs) / freedom if freedom else math.nan
