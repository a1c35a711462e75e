"""Intervals that hold together: against loops, how often one of many fails, what has no error."""

import numpy as np
import pytest
from scipy import stats

from aligngap.intervals import resampled_counts
from aligngap.tasks import simultaneous
from aligngap.tasks.intervals import Scores


def test_matches_a_loop_over_resampled_clusters(monkeypatch):
    """A comparison may lack clusters that another has, and clusters may have several items."""
    monkeypatch.setattr(simultaneous, "RESAMPLES", 300)
    random = np.random.default_rng(0)
    first = Scores(random.normal(0.1, 0.2, 40), random.integers(0, 15, 40))
    second = Scores(random.normal(0, 0.1, 12), np.arange(12) + 2)
    found, critical = simultaneous.simultaneous({"a": first, "b": second}, seed=3)
    names = np.union1d(first.clusters, second.clusters)
    draws = []
    for counts in np.concatenate(list(resampled_counts(len(names), 3, 300))):
        often = dict(zip(names.tolist(), counts, strict=True))
        weights = [[often[c] for c in each.clusters.tolist()] for each in (first, second)]
        draws.append([np.average(x.items, weights=w) for x, w in zip((first, second), weights,
                                                                     strict=True)])  # fmt: skip
    draws, values = np.array(draws), np.array([first.items.mean(), second.items.mean()])
    errors = draws.std(axis=0) * np.sqrt(len(names) / (len(names) - 1))
    normal = np.quantile((np.abs(draws - values) / errors).max(axis=1), 0.95)
    wanted = stats.t.isf(stats.norm.sf(normal), len(names) - 1)
    assert critical == pytest.approx(wanted, rel=1e-9)
    for each, value, error in zip(found.values(), values, errors, strict=True):
        assert each.value == pytest.approx(value, abs=1e-12)
        assert each.low == pytest.approx(value - wanted * error, abs=1e-9)
        assert each.high == pytest.approx(value + wanted * error, abs=1e-9)


@pytest.mark.parametrize("clusters", [simultaneous.LEAST, 60])
def test_one_of_many_fails_about_as_rarely_as_it_says(monkeypatch, clusters):
    """20 comparisons without any difference; each alone at 95 % would fail in most trials."""
    monkeypatch.setattr(simultaneous, "RESAMPLES", 400)
    random, together, alone = np.random.default_rng(1), 0, 0
    for trial in range(300):
        shared = random.normal(size=(clusters, 1))
        items = 0.05 * (shared + random.normal(size=(clusters, 20)))
        found, _ = simultaneous.simultaneous(
            {n: Scores(column, np.arange(clusters)) for n, column in enumerate(items.T)}, trial
        )
        together += any(x.low > 0 or x.high < 0 for x in found.values())
        t = items.mean(axis=0) / items.std(axis=0, ddof=1) * np.sqrt(clusters)
        alone += np.abs(t).max() > 1.96
    assert together / 300 < 0.09  # 5 %, a little more of few clusters: 3 errors above it
    assert alone / 300 > 0.25


def test_one_comparison_is_an_ordinary_interval():
    items = np.random.default_rng(2).normal(0.1, 0.3, 400)
    found, critical = simultaneous.simultaneous({"": Scores(items, np.arange(400))}, 0)
    assert critical == pytest.approx(1.96, abs=0.1)
    assert (found[""].high - found[""].low) / 2 == pytest.approx(1.96 * 0.3 / 20, rel=0.1)


def test_what_differs_alike_everywhere_is_a_point_and_touches_no_other():
    noise = Scores(np.random.default_rng(3).normal(0, 0.1, 30), np.arange(30))
    same = Scores(np.full(30, 0.25), np.arange(30))
    found, critical = simultaneous.simultaneous({"noise": noise, "same": same}, 0)
    assert (found["same"].low, found["same"].high) == (0.25, 0.25)
    alone, other = simultaneous.simultaneous({"noise": noise}, 0)
    assert critical == pytest.approx(other, rel=1e-9)
    ends = alone["noise"].low, alone["noise"].high
    assert (found["noise"].low, found["noise"].high) == pytest.approx(ends, rel=1e-9)
