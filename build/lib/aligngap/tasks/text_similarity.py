"""Semantic textual similarity: do cosines of sentences rank pairs as people's scores do?

Spearman's correlation, the measure of the STS benchmark (Cer et al. 2017; Reimers et al. 2016 say
why not Pearson's).
"""

import chex
import numpy as np
from jaxtyping import Float
from scipy import stats

from aligngap.errors import AligngapError
from aligngap.intervals import CONFIDENCE, Interval
from aligngap.unit import unit_rows_numpy

RESAMPLES = 2000
AT_ONCE = 2**22  # elements of the largest array held


def evaluate(
    first: Float[np.ndarray, "N D"],
    second: Float[np.ndarray, "N D"],
    scores: Float[np.ndarray, "N"],
    seed: int,
) -> Interval:
    """Spearman's ρ of the cosines of rows i and the scores, equal ones having the mean rank; its
    interval draws pairs. AligngapError where there is no order to agree with; 0 where all cosines
    are equal, as for an encoder that maps everything to one point."""
    chex.assert_equal_shape([first, second])
    chex.assert_equal_shape_prefix([first, scores], 1)
    cosines = np.sum(_unit(first) * _unit(second), axis=1)
    known = np.isfinite(cosines) & np.isfinite(scores)
    if not known.all():
        raise AligngapError(
            f"pair {np.flatnonzero(~known)[0]} has a score or cosine that is no number"
        )
    if len(np.unique(scores)) < 2:
        raise AligngapError(f"the scores of {len(scores)} pairs are all equal: no order to compare")
    # Cosines of one pair of rows differ by some 1e-16 with their place.
    both = np.stack([np.round(cosines, 9), np.asarray(scores, np.float64)])
    random = np.random.default_rng(seed)
    draws = []
    block = max(1, AT_ONCE // len(scores))
    for start in range(0, RESAMPLES, block):
        size = min(block, RESAMPLES - start)
        draws.append(_spearman(both[:, random.integers(0, len(scores), (size, len(scores)))]))
    tail = (1 - CONFIDENCE) / 2
    ends = np.quantile(np.concatenate(draws), [tail, 1 - tail])
    value = _spearman(both[:, None])[0]
    return Interval(float(value), float(ends[0]), float(ends[1]), 0.0)


def _unit(rows: np.ndarray) -> Float[np.ndarray, "N D"]:
    return unit_rows_numpy(np.asarray(rows, np.float64))


def _spearman(both: Float[np.ndarray, "2 R N"]) -> Float[np.ndarray, "R"]:
    """Pearson's correlation of the ranks; 0 where one side has a single rank."""
    ranks = stats.rankdata(both, axis=-1)
    left, right = ranks - ranks.mean(axis=-1, keepdims=True)
    sizes = np.sqrt(np.sum(left**2, axis=-1) * np.sum(right**2, axis=-1))
    products = np.sum(left * right, axis=-1)
    return np.divide(products, sizes, out=np.zeros_like(products), where=sizes > 0)
