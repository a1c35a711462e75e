"""Retrieval between images and captions: recall at k beside chance, with intervals.

As LAION's CLIP_benchmark counts it: every caption is kept, and one right candidate among the first
k is a hit.

Ties count by expectation: a candidate that scores as the right one does comes before it in half
of all orders, so an encoder that maps everything to one point scores exactly chance.
"""

from collections.abc import Iterator, Sequence

import chex
import numpy as np
from jaxtyping import Float, Int

from aligngap.errors import AligngapError
from aligngap.intervals import Interval
from aligngap.tasks.intervals import estimate
from aligngap.tasks.ranking import KS, hit_probability

Recall = dict[int, Interval]

# Cosines are computed in float64, where equal rows differ by some 1e-16 with their place in the
# matrix, and distinct float32 rows by far more than this.
TIE = 1e-9
SCORES_AT_ONCE = 2**22  # elements of the largest array held: 32 MiB


def evaluate(
    image: Float[np.ndarray, "N D"],
    text: Float[np.ndarray, "C D"],
    image_labels: Int[np.ndarray, "N"],
    text_labels: Int[np.ndarray, "C"],
    seed: int,
) -> dict[str, Interval]:
    """Both directions by CLIP_benchmark's names: image_retrieval is text → image, text_retrieval
    image → text. Embeddings are L2-normalised; a pair is right when its labels are equal."""
    return {
        f"{name}_recall@{k}": found
        for name, arrays in _directions(image, text, image_labels, text_labels).items()
        for k, found in recall(*arrays, seed=seed).items()
    }


def values(
    image: Float[np.ndarray, "N D"],
    text: Float[np.ndarray, "C D"],
    image_labels: Int[np.ndarray, "N"],
    text_labels: Int[np.ndarray, "C"],
) -> dict[str, float]:
    """Those of `evaluate`, without intervals: no resampling."""
    return {
        f"{name}_recall@{k}": float(found)
        for name, arrays in _directions(image, text, image_labels, text_labels).items()
        for k, found in zip(KS, expected_hits(*arrays).mean(axis=0), strict=True)
    }


def recall(
    queries: Float[np.ndarray, "Nq D"],
    candidates: Float[np.ndarray, "Nc D"],
    query_labels: Int[np.ndarray, "Nq"],
    candidate_labels: Int[np.ndarray, "Nc"],
    ks: Sequence[int] = KS,
    *,
    seed: int,
) -> Recall:
    """k → share of queries with at least one candidate of their label among the first k.

    The interval resamples the queries' labels and keeps the candidates as they are.
    """
    hits = expected_hits(queries, candidates, query_labels, candidate_labels, ks)
    chances = chance_levels(query_labels, candidate_labels, ks)
    columns = zip(ks, hits.T, chances, strict=True)
    return {k: estimate(found, query_labels, chance, seed) for k, found, chance in columns}


def expected_hits(
    queries: Float[np.ndarray, "Nq D"],
    candidates: Float[np.ndarray, "Nc D"],
    query_labels: Int[np.ndarray, "Nq"],
    candidate_labels: Int[np.ndarray, "Nc"],
    ks: Sequence[int] = KS,
) -> Float[np.ndarray, "Nq K"]:
    """Probability that a query hits at each k when ties are ordered at random: 0 or 1 without ties.

    Raises AligngapError where an embedding is not finite or a query has no candidate of its label.
    """
    _check(queries, candidates, query_labels, candidate_labels)
    blocks = _standings(queries, candidates, query_labels, candidate_labels)
    better, positives, negatives = np.concatenate(list(blocks)).T
    return np.stack([hit_probability(better, positives, negatives, k) for k in ks], axis=1)


def chance_levels(
    query_labels: Int[np.ndarray, "Nq"],
    candidate_labels: Int[np.ndarray, "Nc"],
    ks: Sequence[int] = KS,
) -> list[float]:
    """Expected recall at each k of a random ranking: the mean of 1 − C(N−m, k) / C(N, k) over
    queries with m right ones among N candidates."""
    names, counts = np.unique(candidate_labels, return_counts=True)
    positives = counts[np.searchsorted(names, query_labels)]
    negatives = len(candidate_labels) - positives
    better = np.zeros_like(positives)
    return [float(hit_probability(better, positives, negatives, k).mean()) for k in ks]


def _directions(
    image: np.ndarray, text: np.ndarray, image_labels: np.ndarray, text_labels: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """name → queries, candidates and the labels of both."""
    return {
        "text_retrieval": (image, text, image_labels, text_labels),
        "image_retrieval": (text, image, text_labels, image_labels),
    }


def _standings(
    queries: np.ndarray, candidates: np.ndarray, query_labels: np.ndarray, labels: np.ndarray
) -> Iterator[Int[np.ndarray, "q 3"]]:
    """For each query, how many candidates beat its best positive, and how many positives and
    negatives tie with it. Streams over queries: no [Nq, Nc] array is held."""
    columns = np.asarray(candidates, np.float64).T
    step = max(1, SCORES_AT_ONCE // len(labels))
    for start in range(0, len(query_labels), step):
        scores = np.asarray(queries[start : start + step], np.float64) @ columns
        right = query_labels[start : start + step, None] == labels[None]
        best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
        tied = np.abs(scores - best) <= TIE
        counted = (scores > best + TIE, tied & right, tied & ~right)
        yield np.stack([which.sum(axis=1) for which in counted], axis=1)


def _check(
    queries: np.ndarray, candidates: np.ndarray, query_labels: np.ndarray, labels: np.ndarray
) -> None:
    """Asserts the shapes and raises AligngapError for values that no ranking can be made of."""
    chex.assert_rank([queries, candidates, query_labels, labels], [2, 2, 1, 1])
    chex.assert_equal_shape_suffix([queries, candidates], 1)
    chex.assert_equal_shape_prefix([queries, query_labels], 1)
    chex.assert_equal_shape_prefix([candidates, labels], 1)
    for rows in (queries, candidates):
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if bad.size:
            raise AligngapError(f"embedding {bad[0]} of {len(rows)} is not finite: nothing to rank")
    alone = np.flatnonzero(~np.isin(query_labels, labels))
    if not len(query_labels) or alone.size:
        which = f"query {alone[0]} has no candidate of its label" if alone.size else "no queries"
        raise AligngapError(f"retrieval cannot be measured: {which}")
