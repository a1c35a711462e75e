"""Measures against float64 NumPy and against closed forms."""

import numpy as np
import pytest
from scipy.stats import ortho_group

from aligngap import gap


def reference(v: np.ndarray, t: np.ndarray) -> dict[str, float]:
    """Every measure, pair by pair, from its definition."""
    n = len(v)

    def mean_over(a, b, function, same):
        pairs = [(j, k) for j in range(n) for k in range(n) if (j < k if same else j != k)]
        return np.mean([function(a[j], b[k]) for j, k in pairs])

    def gaussian(x, y):
        return np.exp(-2 * np.sum((x - y) ** 2))

    def distance(x, y):
        return (1 - x @ y) / 2

    own = np.mean([distance(a, b) for a, b in zip(v, t, strict=True)])
    within = 0.5 * (mean_over(v, v, distance, True) + mean_over(t, t, distance, True))
    return {
        "centroid_distance": np.linalg.norm(v.mean(0) - t.mean(0)),
        "alignment_score": np.mean([a @ b for a, b in zip(v, t, strict=True)]),
        "uniformity_image": np.log(mean_over(v, v, gaussian, True)),
        "uniformity_text": np.log(mean_over(t, t, gaussian, True)),
        "cross_uniformity": np.log(mean_over(v, t, gaussian, False)),
        "mean_pairwise_cosine_image": mean_over(v, v, np.dot, True),
        "mean_pairwise_cosine_text": mean_over(t, t, np.dot, True),
        "relative_modality_gap": own / (own + within),
    }


@pytest.mark.parametrize(("rows", "dimension"), [(2, 4), (17, 8), (40, 256)])
def test_against_the_definitions(unit_rows, rows, dimension):
    v, t = unit_rows(rows, dimension, 0), unit_rows(rows, dimension, 1)
    t = t + 0.5
    t /= np.linalg.norm(t, axis=1, keepdims=True)
    got = gap.summary(v, t)
    wanted = reference(v, t)
    assert got.keys() == wanted.keys() | {"linear_separability"}
    for name, value in wanted.items():
        assert got[name] == pytest.approx(value, rel=1e-5, abs=1e-5), name


def test_two_antipodal_points():
    v = np.tile([1.0, 0, 0], (50, 1))
    got = gap.summary(v, -v)
    assert got["centroid_distance"] == pytest.approx(2)
    assert got["alignment_score"] == pytest.approx(-1)
    assert got["cross_uniformity"] == pytest.approx(-8)
    assert got["uniformity_image"] == pytest.approx(0, abs=1e-6)
    assert got["mean_pairwise_cosine_text"] == pytest.approx(1)
    assert got["relative_modality_gap"] == pytest.approx(1)
    assert got["linear_separability"] == 1


def test_identical_clouds_have_no_gap(unit_rows):
    v = unit_rows(400, 16, 0)
    got = gap.summary(v, v)
    assert got["centroid_distance"] == 0
    assert got["alignment_score"] == pytest.approx(1)
    assert got["relative_modality_gap"] == pytest.approx(0, abs=1e-6)
    assert got["linear_separability"] == pytest.approx(0.5)


def test_uniformity_of_a_uniform_circle():
    """Points uniform on the circle: log E exp(−2‖x − y‖²) → log(e⁻⁴ I₀(4))."""
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 6000)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    limit = np.log(np.i0(4.0)) - 4.0
    assert float(gap.uniformity(points)) == pytest.approx(limit, abs=0.01)


def test_a_rotation_of_both_changes_nothing(unit_rows):
    v, t = unit_rows(60, 12, 0), unit_rows(60, 12, 1)
    turn = ortho_group.rvs(12, random_state=0)
    before, after = gap.summary(v, t), gap.summary(v @ turn, t @ turn)
    for name, value in before.items():
        assert after[name] == pytest.approx(value, abs=2e-5), name


def test_separability_of_separate_and_of_mixed_clouds(unit_rows):
    v, t = unit_rows(1000, 8, 0), unit_rows(1000, 8, 1)
    assert 0.4 < float(gap.linear_separability(v, t)) < 0.6
    t[:, 0] += 10
    assert float(gap.linear_separability(v, t)) == 1


def test_one_pair_has_no_spread(unit_rows):
    got = gap.summary(unit_rows(1, 8, 0), unit_rows(1, 8, 1))
    assert np.isnan([got["mean_pairwise_cosine_image"], got["linear_separability"]]).all()
    assert np.isfinite([got["centroid_distance"], got["alignment_score"]]).all()
