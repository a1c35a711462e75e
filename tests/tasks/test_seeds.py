"""Intervals over seeds and items: against the variance of both, what is paired, one seed."""

import numpy as np
import pytest
from scipy import stats

from aligngap.tasks import seeds
from aligngap.tasks.seeds import Runs

SEEDS, ITEMS = 6, 40


def scores(random, columns=3):
    """Of each seed and item: what the seed adds, what the item adds, and what is of both alone."""
    of_seed = random.normal(0, 0.1, (SEEDS, 1, columns))
    of_item = random.normal(0, 0.4, (1, ITEMS, columns))
    return of_seed + of_item + random.normal(0, 0.2, (SEEDS, ITEMS, columns))


def test_the_spread_of_draws_is_that_of_seeds_and_of_items():
    """Three parts that draws add up independently: of seeds, of items, and of what is left."""
    found = scores(np.random.default_rng(0))
    drawn = seeds.draws(found, 5)
    assert drawn.mean(axis=0) == pytest.approx(found.mean(axis=(0, 1)), abs=0.01)
    centred = found - found.mean(axis=(0, 1))
    of_seeds, of_items = centred.mean(axis=1), centred.mean(axis=0)
    left = centred - of_seeds[:, None] - of_items[None]
    wanted = (
        (of_seeds**2).mean(axis=0) / SEEDS
        + (of_items**2).mean(axis=0) / ITEMS
        + (left**2).mean(axis=(0, 1)) / (SEEDS * ITEMS)  # Its rows and columns add up to 0.
    )
    assert drawn.var(axis=0) == pytest.approx(wanted, rel=0.12)


def test_draws_of_two_methods_are_paired():
    found = scores(np.random.default_rng(1))
    apart = seeds.draws(found + 0.25, 3) - seeds.draws(found, 3)
    np.testing.assert_allclose(apart, 0.25, atol=1e-12)
    assert np.abs(seeds.draws(found, 4) - seeds.draws(found, 3)).max() > 0.01


def test_one_seed_leaves_the_items():
    """And equal items leave nothing."""
    found = scores(np.random.default_rng(2))[:1]
    wanted = found[0].var(axis=0) / ITEMS
    assert seeds.draws(found, 0).var(axis=0) == pytest.approx(wanted, rel=0.12)
    same = np.full((1, ITEMS, 1), 0.3)
    each = seeds.interval(0.3, seeds.draws(same, 0)[:, 0])
    assert (each.low, each.high) == pytest.approx((0.3, 0.3))


def test_an_interval_holds_19_of_20_draws():
    drawn = np.linspace(0, 1, 2001)
    found = seeds.interval(0.4, drawn)
    assert (found.value, found.low, found.high) == pytest.approx((0.4, 0.025, 0.975))


def runs(random, stream, level=0.0, count=3, draws=400, seed_noise=0.1):
    """Values of a method's runs; items, which all methods share, move them a little."""
    values = level + random.normal(0, seed_noise, count)
    moved = np.random.default_rng(0).normal(0, 0.03, draws)  # The same for every method.
    return Runs(values, values[:, None] + moved + random.normal(0, 0.01, (count, draws)), stream)


def test_one_difference_has_welchs_interval_where_items_do_not_matter():
    """Its draws are fixed by the values alone: error and degrees of freedom are those of Welch."""
    random = np.random.default_rng(4)
    values = random.normal(0.3, 0.1, 6), random.normal(0, 0.2, 4)
    sides = [Runs(x, np.repeat(x[:, None], 2000, axis=1), n) for n, x in enumerate(values)]
    found, critical = seeds.apart({"": tuple(sides)}, 0)
    wanted = stats.ttest_ind(*values, equal_var=False)
    low, high = wanted.confidence_interval(0.95)
    own = found[""]
    assert own.value == pytest.approx(values[0].mean() - values[1].mean())
    assert critical == pytest.approx(1.96, abs=0.1)
    assert own.high - own.value == pytest.approx((high - low) / 2, rel=0.15)


def test_what_items_move_alike_is_no_difference():
    random = np.random.default_rng(5)
    one, other = (runs(random, n, seed_noise=1e-3) for n in range(2))
    found = seeds.apart({"": (one, other)}, 0).intervals[""]
    assert found.high - found.low < 0.07  # Of items that differ it would be 4 · 0.03 and more.


def test_of_many_comparisons_of_few_seeds_one_fails_about_as_rarely_as_it_says():
    """20 methods against one, three runs each and no difference; by normal quantiles one of three
    trials would fail."""
    random, failed = np.random.default_rng(6), 0
    for trial in range(150):
        first = runs(random, 0)
        pairs = {n: (runs(random, n), first) for n in range(1, 21)}
        found = seeds.apart(pairs, trial).intervals.values()
        failed += any(x.low > 0 or x.high < 0 for x in found)
    assert failed / 150 < 0.11  # 5 %, and 3 errors above it.


def test_runs_that_are_equal_leave_a_point():
    same = np.full(3, 0.5)
    sides = [Runs(same + level, np.full((3, 100), 0.5 + level), n) for n, level in ((0, 0), (1, 1))]
    found = seeds.apart({"": tuple(sides)}, 0).intervals[""]
    assert (found.value, found.low, found.high) == (-1, -1, -1)
