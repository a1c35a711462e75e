"""Measures of cones against float64 NumPy and theory, on clouds with a planted cone."""

import numpy as np
import pytest

from aligngap.laboratory.cone import measures


def normalised(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def planted(initialisations: int, inputs: int, common: float, seed: int) -> np.ndarray:
    """Unit features: a direction of all, one of each initialisation, and noise."""
    random = np.random.default_rng(seed)
    own = normalised(random.normal(size=(initialisations, 1, 48)))
    x = 0.7 * own + random.normal(0, 0.1, (initialisations, inputs, 48))
    x[..., 0] += common
    return normalised(x)


def test_mean_cosines_against_two_loops():
    features = planted(4, 7, 0.5, 0)
    wanted = [
        [np.mean([a[i] @ b[j] for i in range(7) for j in range(7) if i != j]) for b in features]
        for a in features
    ]
    got = measures.mean_cosines(features.astype(np.float32))
    np.testing.assert_allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize("common", [0.0, 0.5, 2.0])
def test_share_is_that_of_the_law_of_total_variance(common):
    """Variances summed over coordinates, from 300 initialisations: enough to be the population."""
    features = planted(300, 200, common, 1)
    total = features.reshape(-1, 48).var(axis=0).sum()
    due = features.mean(axis=1).var(axis=0).sum()
    within = features.var(axis=1).mean(axis=0).sum()
    assert due + within == pytest.approx(total)
    share = measures.variance_share(measures.mean_cosines(features))
    assert share.value == pytest.approx(due / total, abs=0.01)
    assert share.within - share.between <= share.value <= share.within
    if not common:
        assert share.value == pytest.approx(share.within, abs=0.01)


def test_where_cones_point_the_same_way_the_mean_cosine_is_far_above_the_share():
    share = measures.variance_share(measures.mean_cosines(planted(300, 50, 3.0, 2)))
    assert share.within > 0.9
    assert share.value < 0.6


def test_the_jackknife_is_as_wide_as_the_spread_of_new_initialisations():
    drawn = [
        measures.variance_share(measures.mean_cosines(planted(12, 30, 1.0, s))) for s in range(150)
    ]
    claimed = np.mean([(share.high - share.low) / 2 / 1.96 for share in drawn])
    assert claimed == pytest.approx(np.std([share.value for share in drawn]), rel=0.35)


def test_told_apart_of_separate_and_of_equal_clouds():
    assert measures.told_apart(planted(6, 50, 0.0, 0), seed=0) == 1
    equal = normalised(np.random.default_rng(0).normal(size=(6, 200, 16)))
    assert measures.told_apart(equal, seed=0) == pytest.approx(1 / 6, abs=0.07)
