"""The cluster bootstrap: point values, coverage, and what it must refuse to claim."""

import numpy as np
import pytest

from aligngap.intervals import resampled_counts
from aligngap.tasks import intervals


def test_value_is_the_mean_and_lies_in_the_interval():
    random = np.random.default_rng(0)
    scores, clusters = random.random(200), random.integers(0, 40, 200)
    found = intervals.estimate(scores, clusters, 0.1, seed=0)
    assert found.value == pytest.approx(scores.mean(), abs=1e-12)
    assert found.low < found.value < found.high
    assert found.chance == 0.1


def test_same_seed_same_interval():
    scores, clusters = np.random.default_rng(1).random(50), np.arange(50) // 2
    first, again, other = (intervals.estimate(scores, clusters, 0.0, seed=s) for s in (3, 3, 4))
    assert first == again
    assert first != other


def test_copies_within_a_cluster_do_not_narrow_the_interval():
    scores = np.random.default_rng(2).random(60)
    once = intervals.estimate(scores, np.arange(60), 0.0, seed=0)
    copied = intervals.estimate(np.repeat(scores, 25), np.repeat(np.arange(60), 25), 0.0, seed=0)
    assert copied.low == pytest.approx(once.low, abs=1e-12)
    assert copied.high == pytest.approx(once.high, abs=1e-12)


def test_matches_a_loop_over_resampled_clusters(monkeypatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 30)
    random = np.random.default_rng(3)
    scores, clusters = random.random(80), random.integers(0, 12, 80)
    classes = random.integers(0, 4, 80)
    draws = []
    for counts in np.concatenate(list(resampled_counts(12, 5, 30))):
        weights = counts[clusters]
        means = [
            np.average(scores[classes == c], weights=weights[classes == c])
            for c in range(4)
            if weights[classes == c].sum()
        ]
        draws.append(np.mean(means))
    found = intervals.estimate(scores, clusters, 0.0, seed=5, classes=classes)
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=1e-12)


def test_covers_the_truth_about_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 400)
    random = np.random.default_rng(4)
    covered = 0
    for trial in range(300):
        levels = random.random(60)  # each cluster has a level of its own: the truth is .5
        scores = (random.random((60, 8)) < levels[:, None]).astype(float).ravel()
        found = intervals.estimate(scores, np.repeat(np.arange(60), 8), 0.0, seed=trial)
        covered += found.low <= 0.5 <= found.high
    assert 0.90 <= covered / 300 <= 0.99


def test_one_cluster_claims_nothing():
    found = intervals.estimate(np.array([0.0, 1.0]), np.array([7, 7]), 0.5, seed=0)
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)


def test_weights_are_those_of_a_weighted_mean(monkeypatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 30)
    random = np.random.default_rng(6)
    scores, clusters, weights = random.random(80), random.integers(0, 12, 80), random.random(80)
    draws = [
        np.average(scores, weights=weights * counts[clusters])
        for counts in np.concatenate(list(resampled_counts(12, 5, 30)))
    ]
    found = intervals.estimate(scores, clusters, 0.0, seed=5, weights=weights)
    assert found.value == pytest.approx(np.average(scores, weights=weights), abs=1e-12)
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=1e-12)


def test_a_spread_is_the_mean_and_its_ends():
    found = intervals.spread([0.2, 0.5, 0.2], 0.1)
    assert (found.value, found.low, found.high, found.chance) == (pytest.approx(0.3), 0.2, 0.5, 0.1)
