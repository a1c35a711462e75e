"""Intervals over seeds and items at once: what models of one recipe scored on the same items.

Seeds and items are crossed, so a draw takes some seeds and, for all of them alike, some items, both
with replacement: the pigeonhole bootstrap (Owen 2007, The Annals of Applied Statistics 1:386-411),
whose variance is that of both together, or a little more. Of few seeds it says little: of three,
(3 - 1) / 3 of their variance.
"""

import numpy as np
from jaxtyping import Float

from aligngap.intervals import CONFIDENCE, Interval, resampled_counts
from aligngap.tasks.intervals import RESAMPLES

Draws = Float[np.ndarray, "R P"]


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
