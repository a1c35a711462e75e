"""95 % intervals by a cluster bootstrap: whole groups are drawn, for their images are alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from aligngap.intervals import CONFIDENCE, Interval, resampled_counts

RESAMPLES = 2000


@dataclass(frozen=True)
class Scores:
    """What each item of a test scored, in [0, 1]; items of one cluster are alike.

    A measure is their mean or, with `classes`, the mean of class means. Items that are kept let
    models be compared item by item.
    """

    items: Float[np.ndarray, "N"]
    clusters: Int[np.ndarray, "N"]
    chance: float | None = None  # What a random ranking would reach.
    classes: Int[np.ndarray, "N"] | None = None

    @property
    def value(self) -> float:
        """The measure, without resampling."""
        weights = np.ones(len(self.items))
        sums, sizes = _totals(self.items, weights, np.zeros_like(self.clusters), self._classes)
        return float(_means(np.ones((1, 1)), sums, sizes)[0])

    def interval(self, seed: int) -> Interval:
        """`estimate` of them."""
        return estimate(self.items, self.clusters, self.chance, seed, self.classes)

    def drawn(self, seed: int) -> Float[np.ndarray, "R"]:
        """The measure in draws of the clusters: the same draws for the same clusters and seed."""
        sums, sizes = _totals(self.items, np.ones(len(self.items)), self.clusters, self._classes)
        return _drawn(sums, sizes, seed)

    def arrays(self) -> dict[str, np.ndarray]:
        """As files keep them, by the names of fields."""
        found = {"scores": self.items.astype(np.float32), "clusters": self.clusters}
        return found if self.classes is None else {**found, "classes": self.classes}

    @property
    def _classes(self) -> Int[np.ndarray, "N"]:
        return np.zeros_like(self.clusters) if self.classes is None else self.classes


def difference(ones: Sequence[Scores], others: Sequence[Scores], seed: int) -> Interval:
    """How much higher the measure is of `ones` than of `others`, each the mean over runs of one
    model that were tested on the same items: its interval draws items of both together.

    It covers the luck of the test, not that of training. One cluster says nothing: −1 to 1.
    """
    first = ones[0]
    means = [np.mean([each.items for each in side], axis=0) for side in (ones, others)]
    apart = Scores(means[0] - means[1], first.clusters, None, first.classes)
    if len(np.unique(first.clusters)) == 1:
        return Interval(apart.value, -1.0, 1.0)
    return apart.interval(seed)


def estimate(
    scores: Float[np.ndarray, "N"],
    clusters: Int[np.ndarray, "N"],
    chance: float | None,
    seed: int,
    classes: Int[np.ndarray, "N"] | None = None,
    weights: Float[np.ndarray, "N"] | None = None,
) -> Interval:
    """The (weighted) mean of scores in [0, 1] with its interval; with `classes`, the mean of class
    means. `chance` is what a random ranking would reach. Differences of scores: `difference`.

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
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(_drawn(sums, sizes, seed), [tail, 1 - tail])
    return Interval(value, float(low), float(high), chance)


def estimates(
    scores: Float[np.ndarray, "N M"],
    clusters: Int[np.ndarray, "N"],
    chances: Sequence[float] | Float[np.ndarray, "M"],
    seed: int,
) -> list[Interval]:
    """`estimate` of each of M columns, all of them by the same draws."""
    _, rows = np.unique(clusters, return_inverse=True)
    sizes = np.bincount(rows)
    sums = np.zeros((len(sizes), scores.shape[1]))
    np.add.at(sums, rows, np.asarray(scores, np.float64))
    values = sums.sum(axis=0) / sizes.sum()
    ends = np.array([np.zeros_like(values), np.ones_like(values)])
    if len(sizes) > 1:
        drawn = resampled_counts(len(sizes), seed, RESAMPLES)
        draws = np.concatenate([counts @ sums / (counts @ sizes)[:, None] for counts in drawn])
        tail = (1 - CONFIDENCE) / 2
        ends = np.quantile(draws, [tail, 1 - tail], axis=0)
    return [
        Interval(float(value), float(low), float(high), float(chance))
        for value, low, high, chance in zip(values, *ends, chances, strict=True)
    ]


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


def _drawn(sums: sparse.csr_array, sizes: sparse.csr_array, seed: int) -> Float[np.ndarray, "R"]:
    drawn = resampled_counts(sums.shape[0], seed, RESAMPLES)
    return np.concatenate([_means(counts, sums, sizes) for counts in drawn])


def _means(
    counts: np.ndarray, sums: sparse.csr_array, sizes: sparse.csr_array
) -> Float[np.ndarray, "R"]:
    """The mean over classes of each class's mean score, leaving out classes that were not drawn."""
    drawn = counts @ sizes
    means = np.divide(counts @ sums, drawn, out=np.zeros_like(drawn), where=drawn > 0)
    return means.sum(axis=1) / (drawn > 0).sum(axis=1)
