"""Bootstrap intervals: their values, their coverage, their edge cases."""

import numpy as np

from aligngap import gap
from aligngap.gap.intervals import intervals


def test_values_are_those_of_the_summary_and_lie_inside(unit_rows):
    v, t = unit_rows(300, 8, 0), unit_rows(300, 8, 1)
    t[:, 0] += 1
    t /= np.linalg.norm(t, axis=1, keepdims=True)
    found = intervals(v, t)
    assert {name: x.value for name, x in found.items()} == gap.summary(v, t)
    for name, x in found.items():
        assert x.low <= x.value <= x.high, name


def test_the_interval_of_a_mean_is_that_of_the_normal_approximation(unit_rows):
    v, t = unit_rows(2000, 8, 0), unit_rows(2000, 8, 1)
    cosines = np.sum(v * t, axis=1)
    half = 1.96 * cosines.std() / np.sqrt(2000)
    x = intervals(v, t)["alignment_score"]
    np.testing.assert_allclose([x.low, x.high], [x.value - half, x.value + half], atol=half / 5)


def test_a_pair_drawn_twice_is_no_pair_of_rows(unit_rows):
    """Counted against its own copy, every draw would lie above a cosine of 0 by about 1/N."""
    v = np.eye(16)
    x = intervals(v, v)["mean_pairwise_cosine_image"]
    assert x.low == x.value == x.high == 0


def test_more_pairs_make_it_narrower(unit_rows):
    v, t = unit_rows(2000, 8, 0), unit_rows(2000, 8, 1)
    few, many = (intervals(v[:n], t[:n])["centroid_distance"] for n in (100, 2000))
    assert (many.high - many.low) < 0.5 * (few.high - few.low)


def test_two_pairs_give_numbers_and_one_gives_none(unit_rows):
    two = intervals(unit_rows(2, 8, 0), unit_rows(2, 8, 1))
    assert np.isfinite([two["centroid_distance"].low, two["uniformity_image"].low]).all()
    one = intervals(unit_rows(1, 8, 0), unit_rows(1, 8, 1))
    assert np.isnan([x.low for x in one.values()]).all()
