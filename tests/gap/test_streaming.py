"""Chunks, tiles and samples: the same numbers as from all at once."""

import numpy as np
import pytest

from aligngap import gap
from aligngap.gap import clouds, intervals, neighbours, streaming


@pytest.fixture
def apart(unit_rows):
    """Two clouds of 900 pairs that lie apart."""
    v, t = unit_rows(900, 8, 0), 0.5 * unit_rows(900, 8, 0) + 0.5 * unit_rows(900, 8, 1)
    t = t + 0.3
    return v.astype(np.float32), (t / np.linalg.norm(t, axis=1, keepdims=True)).astype(np.float32)


def test_chunks_and_tiles_change_nothing(apart, monkeypatch):
    """Sizes that do not divide the pairs; a tile that would stand out is moved in."""
    whole = gap.summary(*apart)
    monkeypatch.setattr(streaming, "GROUPS", 128)
    monkeypatch.setattr(neighbours, "TILE", 64)
    chunked = gap.summary(*apart)
    assert chunked.keys() == whole.keys()
    for name, value in whole.items():
        assert chunked[name] == pytest.approx(value, abs=1e-6), name


def test_a_sample_replaces_only_what_is_quadratic(apart):
    whole, sampled = gap.summary(*apart), gap.summary(*apart, exact_pairs=300)
    measures = clouds.sampled_measures(whole)
    for name, value in whole.items():
        if name not in measures:
            assert sampled[name] == value, name
    rows = streaming.sample(900, 300, seed=0)
    assert len(set(rows)) == 300
    few = gap.summary(apart[0][rows], apart[1][rows])
    for name in measures:
        assert sampled[name] == few[name], name


def test_a_sample_is_a_function_of_the_seed(apart):
    one, again, other = (gap.summary(*apart, exact_pairs=300, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one["cross_uniformity"] != other["cross_uniformity"]


def test_groups_of_pairs_give_the_interval_of_pairs(unit_rows, monkeypatch):
    """Of more pairs than groups: as wide as the normal approximation over pairs says."""
    v, t = unit_rows(6000, 8, 0), unit_rows(6000, 8, 1)
    half = 1.96 * np.sum(v * t, axis=1).std() / np.sqrt(6000)
    monkeypatch.setattr(streaming, "GROUPS", 1000)
    x = intervals.intervals(v, t, exact_pairs=50)["alignment_score"]
    np.testing.assert_allclose([x.low, x.high], [x.value - half, x.value + half], atol=half / 5)


def test_groups_agree_with_pairs_on_all_that_is_linear(apart, monkeypatch):
    """Every third pair of a group with it: each draw of it brings all their products."""
    pairs = intervals.intervals(*apart)
    monkeypatch.setattr(streaming, "GROUPS", 300)
    groups = intervals.intervals(*apart)
    sums = clouds.in_memory(*apart, 900, 0).passed.sums
    for name in clouds.linear(sums, np.ones((1, 300))):
        width = pairs[name].high - pairs[name].low
        assert groups[name].low == pytest.approx(pairs[name].low, abs=0.2 * width), name
        assert groups[name].high == pytest.approx(pairs[name].high, abs=0.2 * width), name
