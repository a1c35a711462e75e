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


def test_scores_are_a_mean_or_the_mean_of_class_means():
    random = np.random.default_rng(0)
    items, clusters = random.random(90), random.integers(0, 20, 90)
    classes = random.integers(0, 4, 90)
    plain = intervals.Scores(items, clusters, 0.1)
    assert plain.value == pytest.approx(items.mean(), abs=1e-12)
    assert plain.interval(3) == intervals.estimate(items, clusters, 0.1, 3)
    by_class = intervals.Scores(items, clusters, None, classes)
    wanted = np.mean([items[classes == c].mean() for c in range(4)])
    assert by_class.value == pytest.approx(wanted, abs=1e-12)
    kept = by_class.arrays()
    assert set(kept) == {"scores", "clusters", "classes"}
    np.testing.assert_array_equal(kept["scores"], items.astype(np.float32))


def test_a_paired_difference_is_narrower_than_two_intervals():
    """Both models fail on the same hard groups: what differs is small and steady."""
    random = np.random.default_rng(1)
    hard = random.random(60)
    clusters = np.repeat(np.arange(60), 5)
    base = (random.random(300) < hard[clusters]).astype(float)
    better = np.where(random.random(300) < 0.1, 1.0, base)
    one, other = (intervals.Scores(items, clusters) for items in (better, base))
    found = intervals.difference([one], [other], seed=0)
    assert found.value == pytest.approx(better.mean() - base.mean(), abs=1e-12)
    assert 0 < found.low < found.value < found.high
    assert found.high - found.low < one.interval(0).high - one.interval(0).low
    draws = [  # The same draws, by a loop over clusters.
        np.average(better - base, weights=counts[clusters])
        for counts in np.concatenate(list(resampled_counts(60, 0, intervals.RESAMPLES)))
    ]
    wanted = np.quantile(draws, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx(wanted, abs=1e-12)


def test_a_difference_of_several_runs_and_of_one_cluster():
    clusters = np.arange(40)
    runs = [intervals.Scores(np.random.default_rng(i).random(40), clusters) for i in range(5)]
    found = intervals.difference(runs[:3], runs[3:], seed=0)
    wanted = np.mean([run.value for run in runs[:3]]) - np.mean([run.value for run in runs[3:]])
    assert found.value == pytest.approx(wanted, abs=1e-12)
    same = intervals.difference(runs[:2], runs[:2], seed=0)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    alone = [intervals.Scores(run.items, clusters * 0) for run in runs[:2]]
    found = intervals.difference(alone[:1], alone[1:], seed=0)
    assert (found.low, found.high) == (-1.0, 1.0)


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
