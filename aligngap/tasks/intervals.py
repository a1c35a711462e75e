"""95 % intervals by a cluster bootstrap: whole groups are drawn, for their images are alike."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from aligngap.intervals import CONFIDENCE, Interval, resampled_counts

RESAMPLES = 2000


def estimate(
    scores: Float[np.ndarray, "N"],
    clusters: Int[np.ndarray, "N"],
    chance: float | None,
    seed: int,
    classes: Int[np.ndarray, "N"] | None = None,
    weights: Float[np.ndarray, "N"] | None = None,
) -> Interval:
    """The (weighted) mean of scores in [0, 1] with its interval; with `classes`, the mean of class
    means. `chance` is what a random ranking would reach; a difference of scores has none.

    Percentile bootstrap: where every score is equal the interval is that point, and
    one cluster says nothing about others, so its interval is all of [0, 1].
    """
    weights = np.ones(len(scores)) if weights is None else weights
    classes = np.zeros_like(clusters) if classes is None else classes
    sums, sizes = _totals(scores, weights, clusters, classes)
    num_clusters = sums.shape[0]
    value = float(_means(np.ones((1, num_clusters)), sums, sizes)[0])
    if num_clusters == 1:
        return Interval(value, 0.0, 1.0, chance)
    drawn = resampled_counts(num_clusters, seed, RESAMPLES)
    draws = [_means(counts, sums, sizes) for counts in drawn]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(draws), [tail, 1 - tail])
    return Interval(value, float(low), float(high), chance)


def spread(values: Sequence[float], chance: float | None) -> Interval:
    """Of repeats that differ by their seed alone: their mean, the least and the greatest."""
    return Interval(float(np.mean(values)), float(min(values)), float(max(values)), chance)


def _totals(
    scores: Float[np.ndarray, "N"],
    weights: Float[np.ndarray, "N"],
    clusters: Int[np.ndarray, "N"],
    classes: Int[np.ndarray, "N"],
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Sum of the weighted scores and of the weights in each cluster and class: sparse [G, C]."""
    cluster_names, rows = np.unique(clusters, return_inverse=True)
    class_names, columns = np.unique(classes, return_inverse=True)
    shape = (len(cluster_names), len(class_names))
    weights = np.asarray(weights, np.float64)
    sums = sparse.coo_array((np.asarray(scores, np.float64) * weights, (rows, columns)), shape)
    sizes = sparse.coo_array((weights, (rows, columns)), shape)
    return sums.tocsr(), sizes.tocsr()


def _means(
    counts: np.ndarray, sums: sparse.csr_array, sizes: sparse.csr_array
) -> Float[np.ndarray, "R"]:
    """The mean over classes of each class's mean score, leaving out classes that were not drawn."""
    drawn = counts @ sizes
    means = np.divide(counts @ sums, drawn, out=np.zeros_like(drawn), where=drawn > 0)
    return means.sum(axis=1) / (drawn > 0).sum(axis=1)
