"""What a place in a ranking with ties is worth: the mean over all orders of the tied candidates.

Two recalls are made of it. That of `tasks.retrieval` takes every candidate of the query's label
for right (several images of one thing, several captions of one image). The paired recall of
`gap.neighbours` takes only the row of the query's own index for right, and leaves out others of it.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.special import digamma

KS = (1, 5, 10)


def hit_probability(
    better: Int[np.ndarray, "n"],
    positives: Int[np.ndarray, "n"],
    negatives: Int[np.ndarray, "n"],
    k: int,
) -> Float[np.ndarray, "n"]:
    """Chance that one of the tied positives falls within the k − better places that are left.

    1 − C(negatives, places) / C(negatives + positives, places), multiplied out place by place
    so that nothing overflows.
    """
    miss = np.ones(len(better))
    for place in range(k):
        left = np.maximum(negatives - place, 0) / np.maximum(negatives + positives - place, 1)
        miss = np.where(place < k - better, miss * left, miss)
    return 1 - miss


def paired_hit_probability(
    better: Int[np.ndarray, "n"], negatives: Int[np.ndarray, "n"], k: int
) -> Float[np.ndarray, "n"]:
    """`hit_probability` of a single positive, for which the product is places / (negatives + 1)."""
    return np.clip((k - better) / (negatives + 1), 0.0, 1.0)


def paired_reciprocal_rank(
    better: Int[np.ndarray, "n"], negatives: Int[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    """Mean of 1 / rank of a single positive: a difference of harmonic numbers."""
    tied = negatives + 1
    return (digamma(better + tied + 1) - digamma(better + 1)) / tied
