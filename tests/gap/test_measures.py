"""Measures against float64 NumPy and against closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import ortho_group

from aligngap import gap
from aligngap.errors import AligngapError
from aligngap.gap.copies import Items


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
        **spectra(v, "image"),
        **spectra(t, "text"),
        "same_modality_neighbours": np.mean([*nearest_is_own(v, t), *nearest_is_own(t, v)]),
        **ranks(v, t, "image_to_text"),
        **ranks(t, v, "text_to_image"),
    }


def spectra(x: np.ndarray, modality: str) -> dict[str, float]:
    """From the singular values of the centred rows."""
    variances = np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2
    p = variances / variances.sum()
    p = p[p > 1e-12]
    return {
        f"effective_rank_{modality}": np.exp(-np.sum(p * np.log(p))),
        f"explained_variance@1_{modality}": p[0],
        f"explained_variance@10_{modality}": p[:10].sum(),
    }


def nearest_is_own(x: np.ndarray, other: np.ndarray) -> list[bool]:
    found = []
    for j in range(len(x)):
        own = min(np.linalg.norm(x[j] - x[k]) for k in range(len(x)) if k != j)
        found.append(own < np.linalg.norm(x[j] - other, axis=1).min())
    return found


def ranks(x: np.ndarray, other: np.ndarray, name: str) -> dict[str, float]:
    found = []
    for j in range(len(x)):
        order = np.argsort(-(other @ x[j]))
        found.append(1 + int(np.flatnonzero(order == j)[0]))
    found = np.array(found)
    return {
        f"paired_median_rank_{name}": np.median(found),
        f"paired_mean_reciprocal_rank_{name}": np.mean(1 / found),
        **{f"paired_recall@{k}_{name}": np.mean(found <= k) for k in (1, 5, 10)},
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
    got = gap.summary(v, -v, items=Items.each(50))
    assert got["centroid_distance"] == pytest.approx(2)
    assert got["alignment_score"] == pytest.approx(-1)
    assert got["cross_uniformity"] == pytest.approx(-8)
    assert got["uniformity_image"] == pytest.approx(0, abs=1e-6)
    assert got["mean_pairwise_cosine_text"] == pytest.approx(1)
    assert got["relative_modality_gap"] == pytest.approx(1)
    assert got["linear_separability"] == 1
    assert got["effective_rank_image"] == got["explained_variance@1_text"] == 1
    assert got["same_modality_neighbours"] == 1
    # Every caption is as far from an image as every other: its own is anywhere among the 50.
    assert got["paired_median_rank_image_to_text"] == 25.5
    assert got["paired_recall@5_text_to_image"] == pytest.approx(5 / 50)
    harmonic = np.mean(1 / np.arange(1, 51))
    assert got["paired_mean_reciprocal_rank_image_to_text"] == pytest.approx(harmonic)


def test_identical_clouds_have_no_gap(unit_rows):
    v = unit_rows(400, 16, 0)
    got = gap.summary(v, v)
    assert got["centroid_distance"] == 0
    assert got["alignment_score"] == pytest.approx(1)
    assert got["relative_modality_gap"] == pytest.approx(0, abs=1e-6)
    assert got["linear_separability"] == pytest.approx(0.5)
    assert got["same_modality_neighbours"] == 0
    assert got["paired_recall@1_image_to_text"] == 1


def test_uniformity_of_a_uniform_circle():
    """Points uniform on the circle: log E exp(−2‖x − y‖²) → log(e⁻⁴ I₀(4))."""
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 6000)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    limit = np.log(np.i0(4.0)) - 4.0
    assert float(gap.uniformity(points)) == pytest.approx(limit, abs=0.01)


def test_uniformity_of_a_uniform_sphere():
    """Cosines c are uniform on [−1, 1] in 3-d: log E exp(4c − 4) → log(sinh(4)/4) − 4."""
    points = np.random.default_rng(0).normal(size=(2, 6000, 3))
    image, text = points / np.linalg.norm(points, axis=2, keepdims=True)
    got = gap.summary(image, text)
    limit = np.log(np.sinh(4.0) / 4.0) - 4.0
    for name in ("uniformity_image", "uniformity_text", "cross_uniformity"):
        assert got[name] == pytest.approx(limit, abs=0.01), name
    assert got["same_modality_neighbours"] == pytest.approx(0.5, abs=0.02)
    assert got["effective_rank_image"] == pytest.approx(3, abs=0.01)


def test_antipodal_clusters(unit_rows):
    """Narrow clusters at opposite poles: all neighbours of one modality, ranks as within one."""
    v = 0.05 * unit_rows(500, 8, 0) + np.eye(8)[0]
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    got = gap.summary(v, -v)
    assert got["centroid_distance"] == pytest.approx(2, abs=0.01)
    assert got["same_modality_neighbours"] == got["linear_separability"] == 1
    # The own caption is the farthest of all.
    assert got["paired_median_rank_image_to_text"] == 500
    assert got["paired_recall@10_text_to_image"] == 0


def test_a_basis_has_equal_eigenvalues_and_known_ranks():
    """Of n unit vectors at right angles n − 1 directions vary alike; captions are moved on by one,
    so that one negative is nearer than the own caption, and n − 2 are as far."""
    n = 20
    got = gap.summary(np.eye(n), np.roll(np.eye(n), 1, axis=0))
    assert got["effective_rank_image"] == pytest.approx(n - 1, rel=1e-5)
    assert got["explained_variance@1_text"] == pytest.approx(1 / (n - 1), rel=1e-5)
    assert got["explained_variance@10_text"] == pytest.approx(10 / (n - 1), rel=1e-5)
    assert got["paired_median_rank_image_to_text"] == 2 + (n - 2) / 2
    assert got["paired_recall@1_image_to_text"] == 0
    assert got["paired_recall@5_text_to_image"] == pytest.approx(4 / (n - 1))


def test_single_measures_are_those_of_the_summary(unit_rows):
    v, t = unit_rows(70, 12, 0), unit_rows(70, 12, 1)
    got = gap.summary(v, t)
    single = {
        "centroid_distance": gap.centroid_distance(v, t),
        "uniformity_text": gap.uniformity(t),
        "cross_uniformity": gap.cross_uniformity(v, t),
        "effective_rank_image": gap.effective_rank(v),
        "explained_variance@10_text": gap.explained_variance(t, 10),
        "same_modality_neighbours": gap.same_modality_neighbours(v, t),
        **gap.paired_ranks(v, t),
    }
    for name, value in single.items():
        assert float(value) == pytest.approx(got[name], abs=1e-5), name


def test_a_narrow_cone_keeps_its_spectrum(unit_rows):
    """Where all rows nearly coincide, float32 products around 0 would cancel."""
    x = np.eye(16)[0] + 1e-3 * unit_rows(300, 16, 0) * np.linspace(1, 2, 16)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    wanted = spectra(x.astype(np.float32).astype(np.float64), "image")["effective_rank_image"]
    assert float(gap.effective_rank(x)) == pytest.approx(wanted, rel=1e-4)


def test_jax_arrays_give_the_same(unit_rows):
    v, t = unit_rows(30, 6, 0), unit_rows(30, 6, 1)
    assert gap.summary(jnp.asarray(v), jnp.asarray(t)) == gap.summary(
        v.astype(np.float32), t.astype(np.float32)
    )


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


@pytest.mark.parametrize("measure", [gap.paired_ranks, gap.same_modality_neighbours, gap.summary])
def test_rows_that_are_not_finite_are_refused(unit_rows, measure):
    """No comparison holds for a NaN, so every pair would rank first."""
    v, t = unit_rows(50, 16, 0), unit_rows(50, 16, 1)
    t[[3, 7], 0] = np.nan, np.inf
    with pytest.raises(AligngapError, match="text: rows 3, 7 are not finite; expected an emb"):
        measure(v, t)
    v[:, 0] = np.nan
    with pytest.raises(AligngapError, match="image: rows 0, 1, 2, 3, 4, "):
        measure(v, t)


def test_a_row_that_is_not_finite_is_refused_beside_the_sample_too(unit_rows):
    v, t = unit_rows(5000, 4, 0), unit_rows(5000, 4, 1)
    v[4500, 0] = np.nan
    with pytest.raises(AligngapError, match="image: row 4500 is not finite"):
        gap.summary(v, t, exact_pairs=2)


@pytest.mark.parametrize(("image", "text"), [((6, 4), (5, 4)), ((6, 4), (6, 3)), ((4,), (4,))])
def test_what_is_no_pairs_is_named(image, text):
    given, words = (np.ones(image), np.ones(text)), "image is .* and text .*; expected"
    for measure in (
        gap.summary,
        gap.paired_ranks,
        gap.same_modality_neighbours,
        gap.linear_separability,
    ):
        with pytest.raises(AligngapError, match=words):
            measure(*given)
    with pytest.raises(AssertionError, match=r"rank|shape"):
        gap.alignment_score(*given)
    with pytest.raises(AligngapError, match=words):
        gap.summary(np.ones((0, 4)), np.ones((0, 4)))


def test_lists_of_rows_are_arrays_too(unit_rows):
    image, text = unit_rows(5, 4, 0), unit_rows(5, 4, 1)
    for measure in (gap.alignment_score, gap.relative_modality_gap, gap.centroid_distance):
        assert float(measure(image.tolist(), text.tolist())) == float(measure(image, text))
