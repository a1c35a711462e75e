"""Bootstrap intervals: their values, their coverage, their edge cases."""

import numpy as np
import pytest

from aligngap import gap
from aligngap.gap import spectrum, streaming
from aligngap.gap.copies import Items
from aligngap.gap.intervals import intervals, linear


@pytest.fixture
def population():
    """(rows, seed) → paired clouds drawn from one population: unlike variances, two centres."""

    def draw(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(seed)
        scales = np.array([1.0, 0.7, 0.5, 0.3])
        shared = random.normal(size=(rows, 4)) * scales
        clouds = [shared + 0.3 * random.normal(size=(rows, 4)) + c for c in (0.4, -0.4)]
        v, t = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in clouds)
        return v, t

    return draw


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


def test_groups_that_say_nothing_of_others_leave_the_range(unit_rows):
    two, five, six = (intervals(unit_rows(n, 8, 0), unit_rows(n, 8, 1)) for n in (2, 5, 6))
    for name, ends in {
        "linear_separability": (0, 1),
        "mean_pairwise_cosine_text": (-1, 1),
        "relative_modality_gap": (0, 1),
        "uniformity_image": (-8, 0),
        "cross_uniformity": (-8, 0),
        "paired_median_rank_image_to_text": (1, 2),
    }.items():
        assert (two[name].low, two[name].high) == ends, name
    assert five["uniformity_image"].low > -8 and six["mean_pairwise_cosine_text"].high < 1
    median = five["paired_median_rank_text_to_image"]
    assert (median.low, median.high) == (1, 5)


def exact_bootstrap(v: np.ndarray, t: np.ndarray) -> dict[str, np.ndarray]:
    """Both ends for measures over every two rows: resampled pair by pair, N × N at once."""
    n = len(v)
    w = np.random.default_rng(1).multinomial(n, np.full(n, 1 / n), size=1000).astype(float)

    def ends(a, b):
        potentials = np.exp(4 * a @ b.T - 4)
        np.fill_diagonal(potentials, 0)
        draws = np.einsum("rn,rn->r", w @ potentials, w) / (n**2 - (w**2).sum(axis=1))
        return np.quantile(np.log(draws), [0.025, 0.975])

    return {
        "uniformity_image": ends(v, v),
        "uniformity_text": ends(t, t),
        "cross_uniformity": ends(v, t),
    }


@pytest.mark.parametrize("rows", [100, 400])
def test_the_jackknife_of_uniformities_is_as_wide_as_the_exact_bootstrap(population, rows):
    v, t = population(rows, 0)
    found = intervals(v, t)
    for name, (low, high) in exact_bootstrap(v, t).items():
        tolerance = 0.12 * (high - low)
        assert found[name].low == pytest.approx(low, abs=tolerance), name
        assert found[name].high == pytest.approx(high, abs=tolerance), name


def test_the_truth_is_inside_nearly_as_often_as_stated(population):
    """100 samples of 250 pairs, against 100,000 pairs of the same population."""
    truth = gap.summary(*population(100_000, 1000), exact_pairs=6000)
    names = [
        name
        for name in truth
        # The others are about one gallery, or one fitted classifier: they have no such truth.
        if not name.startswith(("paired_", "same_modality", "linear_separability"))
        and not name.startswith("explained_variance@10")
    ]
    inside = dict.fromkeys(names, 0)
    for seed in range(100):
        found = intervals(*population(250, seed))
        for name in names:
            inside[name] += found[name].low <= truth[name] <= found[name].high
    # A share of 0.95 of 100 varies by 0.022; small samples cost every bootstrap a little.
    assert {name: n for name, n in inside.items() if n < 88} == {}


def test_the_error_of_a_spectrum_is_its_spread_over_samples(population):
    samples = [population(400, seed) for seed in range(100)]
    ranks = [float(gap.effective_rank(v)) for v, _ in samples]
    errors = [
        spectrum.errors(spectrum.covariance(v), v.astype(np.float32), np.arange(400), 400)[
            "effective_rank"
        ]
        for v, _ in samples
    ]
    assert np.mean(errors) == pytest.approx(np.std(ranks), rel=0.2)


def test_spectra_of_as_many_rows_are_inside_as_often_as_stated():
    """Of 200 rows in 64 dimensions, whose rank is 3 below that of the population."""
    random, each = np.random.default_rng(0), np.arange(200)
    values, errors = [], []
    for _ in range(100):
        v = random.normal(size=(200, 64)) * np.arange(1, 65) ** -0.5
        v = (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32)
        matrix = spectrum.covariance(v)
        values.append([*spectrum.values(matrix).values()])
        errors.append([*spectrum.errors(matrix, v, each, 200).values()])
    apart = np.abs(np.array(values) - np.mean(values, axis=0))
    assert (np.mean(apart < 1.96 * np.array(errors), axis=0) >= 0.88).all()


def test_the_interval_of_a_median_rank_is_that_of_a_bootstrap(population):
    v, t = population(400, 3)
    t = t + np.random.default_rng(0).normal(size=t.shape)
    t /= np.linalg.norm(t, axis=1, keepdims=True)
    ranks = np.array([1 + np.sum(t @ x > x @ y) for x, y in zip(v, t, strict=True)])
    draws = np.random.default_rng(0).choice(ranks, size=(2000, 400))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    found = intervals(v, t)["paired_median_rank_image_to_text"]
    assert found.value == pytest.approx(np.median(ranks), abs=1)
    assert found.low == pytest.approx(low, abs=0.15 * (high - low))
    assert found.high == pytest.approx(high, abs=0.15 * (high - low))


@pytest.mark.parametrize("apart", [0.0, 0.25])
def test_a_small_distance_is_inside_as_often_as_stated(apart):
    """Of 230 pairs, the gap being 0 or .05: raw draws lie above every distance of as many pairs."""
    random, items = np.random.default_rng(0), Items.each(230)
    found = []
    for _ in range(100):
        shared = random.normal(size=(230, 64))
        v, t = (shared + 0.8 * random.normal(size=(230, 64)) for _ in range(2))
        v[:, 0] += apart
        t[:, 0] -= apart
        v, t = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (v, t))
        sums = streaming.collect(streaming.slices(v, t), items, np.arange(2)).sums
        draws = linear(sums, 0, 200)["centroid_distance"]
        distance = np.linalg.norm(np.mean(v - t, axis=0))
        found.append((distance, *np.quantile(draws, [0.025, 0.975])))
    distance, low, high = np.array(found).T
    assert ((low <= distance) & (distance <= high)).all()
    assert np.mean((low <= distance.mean()) & (distance.mean() <= high)) >= 0.85
