"""Intervals of many differences at once: with 95 % confidence all of them hold together, so that
what is chosen by them, however many there were to choose from, is no luck of having tried often.

The single-step max-T of Westfall & Young 1993 and Romano & Wolf 2005, whose critical value takes
account of how alike the comparisons are, as sup-t bands (Montiel Olea & Plagborg-Møller 2019):
value ± c · its bootstrap error, c the 95 % quantile of the largest |draw − value| / error, taken to
Student's t: of 20 clusters, 15 to 20 % of trials fail without.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Int

from aligngap.intervals import CONFIDENCE, Interval, resampled_counts
from aligngap.tasks.intervals import RESAMPLES, Scores

LEAST = 20  # Clusters: the errors of fewer are too uncertain to build on.
SMALLEST_ERROR = 1e-12  # Below it every cluster has the same difference.

Key = TypeVar("Key", bound=Hashable)


class Simultaneous(NamedTuple):
    """Intervals that hold together, and c: how many errors each end is away (1.96 for one)."""

    intervals: dict
    critical: float


def simultaneous(differences: Mapping[Key, Scores], seed: int) -> Simultaneous:
    """The mean of each comparison's differences in [-1, 1], with its interval; clusters are drawn
    whole, the same ones for all comparisons, which may have items in some of them alone.
    """
    names = np.unique(np.concatenate([each.clusters for each in differences.values()]))
    totals = [_totals(each, names) for each in differences.values()]
    sums, sizes = (np.stack(columns, axis=1) for columns in zip(*totals, strict=True))
    values = sums.sum(axis=0) / sizes.sum(axis=0)
    blocks = resampled_counts(len(names), seed, RESAMPLES)
    draws = np.concatenate([_means(counts @ sums, counts @ sizes, values) for counts in blocks])
    # A bootstrap's variance is (G − 1) / G of that of samples.
    errors = draws.std(axis=0) * np.sqrt(len(names) / max(len(names) - 1, 1))
    return bands([*differences], values, draws, errors, max(len(names) - 1, 1))


def bands(
    keys: Sequence[Key],
    values: Float[np.ndarray, "M"],
    draws: Float[np.ndarray, "R M"],
    errors: Float[np.ndarray, "M"],
    freedom: float,
) -> Simultaneous:
    """The intervals of M differences in [-1, 1], of their draws by any bootstrap and its errors,
    which are known to so many degrees of freedom: c is Student's t where normal draws ask for it.

    A difference that is the same in every draw has no error: its interval is that point.
    """
    from scipy import stats  # Most of a second that nobody else need wait.

    errors = np.where(errors > SMALLEST_ERROR, errors, 0)
    normal = critical_value(draws - values, errors)
    critical = float(stats.t.isf(stats.norm.sf(normal), freedom))
    reach = critical * errors
    ends = np.clip([values - reach, values + reach], -1, 1)
    found = {
        key: Interval(float(value), float(low), float(high))
        for key, value, low, high in zip(keys, values, *ends, strict=True)
    }
    return Simultaneous(found, critical)


def critical_value(apart: Float[np.ndarray, "R M"], errors: Float[np.ndarray, "M"]) -> float:
    """c: the 95 % quantile of the largest |draw − value| / error, `apart` being draw − value. What
    has no error has no part in it."""
    moving = errors > 0
    largest = np.abs(apart[:, moving] / errors[moving]).max(axis=1, initial=0)
    return float(np.quantile(largest, CONFIDENCE))


def _totals(
    each: Scores, names: Int[np.ndarray, "G"]
) -> tuple[Float[np.ndarray, "G"], Float[np.ndarray, "G"]]:
    """Sum of the differences and number of items in each cluster."""
    rows = np.searchsorted(names, each.clusters)
    return (
        np.bincount(rows, each.items, len(names)),
        np.bincount(rows, minlength=len(names)).astype(np.float64),
    )


def _means(
    sums: Float[np.ndarray, "R M"], sizes: Float[np.ndarray, "R M"], values: Float[np.ndarray, "M"]
) -> Float[np.ndarray, "R M"]:
    """Means of the drawn; a draw without an item of a comparison says nothing of it."""
    return np.where(sizes > 0, sums / np.maximum(sizes, 1), values)
