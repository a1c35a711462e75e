"""Retrieval between images and captions: recall at k beside chance, with intervals.

As LAION's CLIP_benchmark counts it: every caption is kept, and one right candidate among the first
k is a hit.

Ties count by expectation: a candidate that scores as the right one does comes before it in half
of all orders, so an encoder that maps everything to one point scores exactly chance.
"""

from collections.abc import Sequence

import chex
import numpy as np
from jaxtyping import Float, Int

from aligngap.errors import AligngapError
from aligngap.intervals import Interval
from aligngap.tasks.intervals import Scores, estimate
from aligngap.tasks.ranking import KS, hit_probability
from aligngap.tasks.standings import Side, Standings, mutual, standings

Recall = dict[int, Interval]
FIRST = 10  # Places that the reciprocal rank looks at.


def evaluate(
    image: Float[np.ndarray, "N D"],
    text: Float[np.ndarray, "C D"],
    image_labels: Int[np.ndarray, "N"],
    text_labels: Int[np.ndarray, "C"],
    seed: int,
) -> dict[str, Interval]:
    """Those of `scores`, as recalls with intervals."""
    found = scores(image, text, image_labels, text_labels)
    return {name: each.interval(seed) for name, each in found.items()}


def values(
    image: Float[np.ndarray, "N D"],
    text: Float[np.ndarray, "C D"],
    image_labels: Int[np.ndarray, "N"],
    text_labels: Int[np.ndarray, "C"],
) -> dict[str, float]:
    """Those of `evaluate`, without intervals: no resampling."""
    found = scores(image, text, image_labels, text_labels)
    return {name: each.value for name, each in found.items()}


def scores(
    image: Float[np.ndarray, "N D"],
    text: Float[np.ndarray, "C D"],
    image_labels: Int[np.ndarray, "N"],
    text_labels: Int[np.ndarray, "C"],
) -> dict[str, Scores]:
    """Each query's hits in both directions, by CLIP_benchmark's names: image_retrieval is text →
    image, text_retrieval image → text. Embeddings are L2-normalised; a pair is right when its
    labels are equal. Errors as `expected_hits`."""
    _check(image, text, image_labels, text_labels)
    _check(text, image, text_labels, image_labels)
    sides = Side(image, image_labels), Side(text, text_labels)
    of_image, of_text = mutual(*sides, most=max(KS))
    directions = {
        "text_retrieval": (of_image, image_labels, text_labels),
        "image_retrieval": (of_text, text_labels, image_labels),
    }
    return {
        f"{name}_recall@{k}": Scores(hits, queries, chance)
        for name, (found, queries, candidates) in directions.items()
        for k, hits, chance in zip(
            KS, _hits(found, KS).T, chance_levels(queries, candidates, KS), strict=True
        )
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
    sides = Side(queries, query_labels), Side(candidates, candidate_labels)
    return _hits(standings(*sides, most=max(ks)), ks)


def reciprocal_ranks(
    queries: Float[np.ndarray, "Nq D"],
    candidates: Float[np.ndarray, "Nc D"],
    query_labels: Int[np.ndarray, "Nq"],
    candidate_labels: Int[np.ndarray, "Nc"],
) -> Scores:
    """1 / place of each query's first right candidate, 0 beyond the tenth place: MRR@10, as MS
    MARCO counts it. Errors as `expected_hits`."""
    ks = range(1, FIRST + 1)
    hits = expected_hits(queries, candidates, query_labels, candidate_labels, ks)
    chances = np.array(chance_levels(query_labels, candidate_labels, ks))
    found, chance = (np.diff(x, prepend=0) @ (1 / np.array(ks)) for x in (hits, chances))
    return Scores(found, query_labels, float(chance))


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


def _hits(found: Standings, ks: Sequence[int]) -> Float[np.ndarray, "Nq K"]:
    return np.stack([hit_probability(*found, k) for k in ks], axis=1)


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
