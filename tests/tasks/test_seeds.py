"""Intervals over seeds and items: against the variance of both, what is paired, one seed."""

import numpy as np
import pytest

from aligngap.tasks import seeds

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
