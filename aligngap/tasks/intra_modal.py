"""Retrieval within one modality, image to image or text to text: those of the query's class are
right, and the query itself is no candidate.

mAP and recall as in work on intra-modal misalignment (Mistretta et al. 2025; IsoCLIP). Ties count
by expectation over all orders (McSherry & Najork 2008).
"""

from collections.abc import Iterator, Sequence

import chex
import numpy as np
from jaxtyping import Float, Int

from aligngap.errors import AligngapError
from aligngap.intervals import Interval
from aligngap.tasks.intervals import Scores
from aligngap.tasks.ranking import KS, hit_probability
from aligngap.tasks.standings import TIE

SCORES_AT_ONCE = 2**20  # elements of the arrays held, some ten of them


def evaluate(
    rows: Float[np.ndarray, "N D"],
    labels: Int[np.ndarray, "N"],
    clusters: Int[np.ndarray, "N"],
    seed: int,
    ks: Sequence[int] = KS,
) -> dict[str, Interval]:
    """Those of `scores`, as measures with intervals."""
    found = scores(rows, labels, clusters, ks)
    return {name: each.interval(seed) for name, each in found.items()}


def scores(
    rows: Float[np.ndarray, "N D"],
    labels: Int[np.ndarray, "N"],
    clusters: Int[np.ndarray, "N"],
    ks: Sequence[int] = KS,
) -> dict[str, Scores]:
    """map, and recall@k: the share of queries with one of their class among the first k.

    A row whose class has no other row is a candidate but no query; AligngapError where no query is
    left. Rows are L2-normalised; those of a cluster are drawn together for the intervals.
    """
    chex.assert_equal_shape([labels, clusters])
    queries = _queries(rows, labels)
    wide = np.asarray(rows, np.float64)
    found = np.concatenate(list(_scores(wide, labels, queries, ks)))
    names = ["map", *(f"recall@{k}" for k in ks)]
    return {
        name: Scores(each, clusters[queries], chance)
        for name, each, chance in zip(names, found.T, _chances(labels, queries, ks), strict=True)
    }


def _queries(rows: np.ndarray, labels: np.ndarray) -> Int[np.ndarray, "Q"]:
    """Those whose class has another row."""
    chex.assert_equal_shape_prefix([rows, labels], 1)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        raise AligngapError(f"embedding {bad[0]} of {len(rows)} is not finite: nothing to rank")
    _, own, counts = np.unique(labels, return_inverse=True, return_counts=True)
    queries = np.flatnonzero(counts[own] > 1)
    if not queries.size:
        raise AligngapError(f"none of {len(rows)} rows shares its class with another: no queries")
    return queries


def _scores(
    rows: np.ndarray, labels: np.ndarray, queries: np.ndarray, ks: Sequence[int]
) -> Iterator[Float[np.ndarray, "q 1+K"]]:
    """Average precision and hits of each query, in blocks: no [N, N] array is held."""
    step = max(1, SCORES_AT_ONCE // len(rows))
    for start in range(0, len(queries), step):
        chosen = queries[start : start + step]
        cosines = rows[chosen] @ rows.T
        cosines[np.arange(len(chosen)), chosen] = -np.inf  # Itself comes last, and is cut off.
        order = np.argsort(-cosines, axis=1)[:, :-1]
        right = labels[order] == labels[chosen][:, None]
        yield _ranked(np.take_along_axis(cosines, order, axis=1), right, ks)


def _ranked(
    scores: Float[np.ndarray, "q n"], right: np.ndarray, ks: Sequence[int]
) -> Float[np.ndarray, "q 1+K"]:
    """Of candidates in falling order: expected average precision, and the hits at each k."""
    count, size = scores.shape
    new = np.ones((count, size), bool)
    new[:, 1:] = scores[:, :-1] - scores[:, 1:] > TIE
    group = np.cumsum(new.reshape(-1)).reshape(count, size) - 1  # Of ties, over all queries.
    first = np.flatnonzero(new) % size  # How many stand before each group of its query.
    sizes = np.bincount(group.reshape(-1))
    positives = np.bincount(group.reshape(-1), right.reshape(-1))
    total = right.sum(axis=1)
    before = np.cumsum(positives) - positives  # Right ones before each group ...
    before -= np.repeat(np.cumsum(total) - total, new.sum(axis=1))  # ... of its own query.
    place = np.arange(size) - first[group]  # Within the group, from 0.
    n, r = sizes[group], positives[group]
    # A place holds a right one with chance r / n; then (r − 1) / (n − 1) of those ahead are right.
    ahead = before[group] + 1 + place * (r - 1) / np.maximum(n - 1, 1)
    precision = np.sum(r / n * ahead / (np.arange(size) + 1), axis=1) / total
    best = group[np.arange(count), right.argmax(axis=1)]
    counts = first[best], positives[best], sizes[best] - positives[best]
    return np.stack([precision, *(hit_probability(*counts, k) for k in ks)], axis=1)


def _chances(labels: np.ndarray, queries: np.ndarray, ks: Sequence[int]) -> list[float]:
    """Those of a random ranking: all candidates tied."""
    n = len(labels) - 1
    _, own, counts = np.unique(labels, return_inverse=True, return_counts=True)
    right = counts[own][queries] - 1
    harmonic = float(np.sum(1 / np.arange(1, n + 1)))
    means = (harmonic + (right - 1) / max(n - 1, 1) * (n - harmonic)) / n
    none = np.zeros_like(right)
    hits = (hit_probability(none, right, n - right, k).mean() for k in ks)
    return [float(means.mean()), *map(float, hits)]
