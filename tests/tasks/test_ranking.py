"""Ranks with ties against every order of the tied candidates."""

import itertools

import numpy as np
import pytest

from aligngap.tasks.ranking import KS, hit_probability, paired_hit_probability
from aligngap.tasks.ranking import paired_reciprocal_rank as reciprocal_rank


def first_places(better, positives, negatives):
    """The rank of the first positive, in each order of the ties."""
    tied = [True] * positives + [False] * negatives
    return [better + order.index(True) + 1 for order in itertools.permutations(tied)]


@pytest.mark.parametrize(("positives", "negatives"), [(1, 0), (1, 3), (2, 3), (3, 0), (4, 2)])
def test_means_over_all_orders(positives, negatives):
    for better in range(12):
        ranks = np.array(first_places(better, positives, negatives))
        counts = [np.array([x]) for x in (better, positives, negatives)]
        for k in KS:
            wanted = pytest.approx(np.mean(ranks <= k), abs=1e-12)
            assert hit_probability(*counts, k)[0] == wanted
            if positives == 1:
                assert paired_hit_probability(counts[0], counts[2], k)[0] == wanted
        if positives == 1:
            mean = pytest.approx(np.mean(1 / ranks), abs=1e-12)
            assert reciprocal_rank(counts[0], counts[2])[0] == mean
