"""Intervals over seeds and items at once: what models of one recipe scored on the same items.

Seeds and items are crossed, so a draw takes some seeds and, for all of them alike, some items, both
with replacement: the pigeonhole bootstrap (Owen 2007, The Annals of Applied Statistics 1:386-411),
whose variance is that of both together, or a little more. Of few seeds it says little: of three,
(3 - 1) / 3 of their variance. `apart` gives that back, and takes its quantiles from Student's t.
"""

from collections.abc import Hashable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

from aligngap.intervals import CONFIDENCE, Interval, resampled_counts
from aligngap.tasks.intervals import RESAMPLES
from aligngap.tasks.simultaneous import SMALLEST_ERROR, Simultaneous, critical_value

Draws = Float[np.ndarray, "R P"]
Key = TypeVar("Key", bound=Hashable)
LEAST = 2  # Runs of a method: one says nothing of what another seed does.


class Runs(NamedTuple):
    """What the runs of one method reached: the measure of each, and its values over R draws of the
    items, the same for all runs of all methods. Seeds are drawn alike for one `stream`."""

    values: Float[np.ndarray, "S"]
    drawn: Float[np.ndarray, "S R"]
    stream: int


def draws(scores: Float[np.ndarray, "S N P"], seed: int) -> Draws:
    """Means over drawn seeds and items of each of P columns. The same shape and seed give the same
    draws: those of two methods are paired."""
    seeds, items, _ = scores.shape
    # Two streams: the numbers that draw seeds draw no items.
    of_seeds, of_items = (
        resampled_counts(count, stream, RESAMPLES)
        for count, stream in ((seeds, 2 * seed), (items, 2 * seed + 1))
    )
    return np.concatenate(
        [
            np.einsum("rs,srp->rp", some, others @ scores) / (seeds * items)
            for some, others in zip(of_seeds, of_items, strict=True)
        ]
    )


def interval(value: float, drawn: Float[np.ndarray, "R"]) -> Interval:
    """The value, and the quantiles of its draws."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(value), float(low), float(high))


def apart(pairs: Mapping[Key, tuple[Runs, Runs]], seed: int) -> Simultaneous:
    """How much higher the first of each pair of methods is, means over runs; all intervals hold
    together, the sole one of one pair being an ordinary one. Both have at least LEAST runs.

    Seeds are drawn for each method by itself, items for both at once. An end is as many errors away
    as Student's t asks for where normal draws ask for max-T's c, with the degrees of freedom of
    Welch (1947) and Satterthwaite (1946): runs are few and items many.
    """
    from scipy import stats  # Most of a second that nobody else need wait.

    values = np.array([one.values.mean() - other.values.mean() for one, other in pairs.values()])
    draws = [_over_seeds(one, seed) - _over_seeds(other, seed) for one, other in pairs.values()]
    moved = np.stack(draws, axis=1) - values
    errors = moved.std(axis=0)
    errors = np.where(errors > SMALLEST_ERROR, errors, 0)
    critical = critical_value(moved, errors)
    tail = stats.norm.sf(critical)
    reach = [
        stats.t.isf(tail, _freedom(pair, error)) * error if error else 0.0
        for pair, error in zip(pairs.values(), errors, strict=True)
    ]
    found = {
        key: Interval(float(value), float(value - far), float(value + far))
        for key, value, far in zip(pairs, values, reach, strict=True)
    }
    return Simultaneous(found, critical)


def _over_seeds(runs: Runs, seed: int) -> Float[np.ndarray, "R"]:
    """Means over drawn runs of their values by drawn items. A draw of S runs lies nearer to their
    mean than S other runs would, by √((S − 1) / S): it is moved that much further out."""
    count, resamples = runs.drawn.shape
    often = np.concatenate([*resampled_counts(count, _streams(seed) + runs.stream, resamples)])
    further = 1 + (often - 1) * np.sqrt(count / (count - 1))
    found: np.ndarray = np.einsum("rs,sr->r", further, runs.drawn) / count
    return found


def _streams(seed: int) -> int:
    """Where the streams of seeds begin: far from `seed`, by which items are drawn."""
    return 1_000_000 * (seed + 1)


def _freedom(pair: tuple[Runs, Runs], error: float) -> float:
    """Of an error that is made of that of items and of those of two means over runs."""
    shares = sum(
        (runs.values.var(ddof=1) / len(runs.values)) ** 2 / (len(runs.values) - 1) for runs in pair
    )
    return float(error**4 / shares) if shares else np.inf
