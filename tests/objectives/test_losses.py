"""Values and gradients of every loss against float64 NumPy, and its edge cases."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aligngap import objectives
from aligngap.config import default
from aligngap.objectives.divergence import median_sigma
from aligngap.objectives.terms import make_pairs

import reference
from cases import NAMES, calls, clouds, gradient, gradients, ours, single, wanted

TILES = [None, 64]
BIAS = -10.0
SHAPES = [(1, 8), (2, 8), (7, 8), (33, 64), (64, 512), (131, 64), (257, 768)]


def tolerance(tile):
    return 1e-5 if tile is None else 2e-5


@pytest.mark.parametrize(("batch", "dimension"), SHAPES)
def test_values(unit_rows, batch, dimension):
    forms = {tile: jax.jit(functools.partial(ours, tile=tile)) for tile in TILES}
    for duplicates, scale in itertools.product((False, True), (1.0, 14.3, 100.0)):
        v, t, e, groups = clouds(unit_rows, batch, dimension, duplicates)
        right = wanted(v, t, scale, BIAS, e, groups)
        for tile, compute in forms.items():
            got = compute(*single(v, t, scale, BIAS, e, groups))
            for name, value in got.items():
                assert value.dtype == jnp.float32
                error = abs(float(value) - right[name])
                allowed = tolerance(tile) * max(1, abs(right[name]))
                assert error <= allowed, (name, tile, scale, duplicates)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("scale", [1.0, 14.3])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_by_finite_differences(unit_rows, name, scale, tile):
    """Of embeddings (on the tangent of the sphere), scale and bias, along random directions."""
    v, t, e, groups = clouds(unit_rows, 9, 8, duplicates=True)

    _, found = gradient(name, tile)(*single(v, t, scale, BIAS, e, groups))
    found = [np.asarray(g, np.float64) for g in found]
    random, step = np.random.default_rng(3), 1e-5
    largest = max(np.abs(g).max() for g in found)
    for _ in range(5):
        directions = []
        for rows in (v, t):
            d = random.normal(size=rows.shape)
            directions.append(d - np.sum(d * rows, axis=1, keepdims=True) * rows)
        directions += [random.normal(), random.normal()]

        def at(h, directions=directions):
            moved = [x + h * d for x, d in zip((v, t), directions[:2], strict=True)]
            moved = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in moved]
            numbers = [x + h * d for x, d in zip((scale, BIAS), directions[2:], strict=True)]
            return wanted(*moved, *numbers, e, groups)[name]

        numeric = (at(step) - at(-step)) / (2 * step)
        analytic = sum(float(np.sum(g * d)) for g, d in zip(found, directions, strict=True))
        # A sum of about 150 entries, each weighed by a number near 1.
        assert abs(numeric - analytic) <= 1e-4 * largest, (numeric, analytic)


@pytest.mark.parametrize(("batch", "dimension"), [(1, 8), (64, 64), (131, 768), (257, 8)])
def test_tiled_gradients_equal_dense_ones(unit_rows, batch, dimension):
    v, t, e, groups = clouds(unit_rows, batch, dimension, duplicates=True)
    dense, tiled = gradients(None), gradients(64)
    for scale in (1.0, 100.0):
        right, got = (f(*single(v, t, scale, BIAS, e, groups)) for f in (dense, tiled))
        for name in NAMES:
            for a, b in zip(got[name][1], right[name][1], strict=True):
                # Of the largest entry; of 1e-6 where all of them vanish.
                largest = max(1e-6, float(jnp.abs(b).max()))
                error = float(jnp.abs(a - b).max()) / largest
                assert error <= 2e-5, (name, scale, error)


def test_semantics_get_no_gradient(unit_rows):
    v, t, e, _ = clouds(unit_rows, 5, 8)
    gradient = jax.grad(lambda e: objectives.separation_loss(v, t, jnp.float32(10), semantics=e))(
        jnp.asarray(e, jnp.float32)
    )
    assert not np.asarray(gradient).any()


@pytest.mark.parametrize("tile", TILES)
def test_one_pair(unit_rows, tile):
    v, t, e, groups = clouds(unit_rows, 1, 8)
    values = ours(*single(v, t, 10.0, BIAS, e, groups), tile=tile)
    right = wanted(v, t, 10.0, BIAS, e, groups)
    for name in ("alignment", "sigmoid", "relative", "cauchy_schwarz"):
        assert float(values.pop(name)) == pytest.approx(right[name], abs=1e-5)
    assert {name: float(value) for name, value in values.items()} == dict.fromkeys(values, 0.0)


def test_a_duplicate_caption_is_neither_repelled_nor_masked(unit_rows):
    """Its semantic distance is 0, so its logit is 0 = s·0, whatever the images' similarity."""
    v, t, e, _ = clouds(unit_rows, 2, 8)
    e = np.stack([e[0], e[0]])
    value = objectives.separation_loss(v, t, jnp.float32(7), semantics=jnp.asarray(e))
    wanted = np.mean([np.log1p(np.exp(-7 * v[i] @ t[i])) for i in range(2)])
    assert float(value) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("tile", TILES)
def test_bfloat16_input(unit_rows, tile):
    v, t, e, groups = clouds(unit_rows, 33, 64)
    right = wanted(v, t, 14.3, BIAS, e, groups)
    v, t, e = (jnp.asarray(x, jnp.bfloat16) for x in (v, t, e))
    got = ours(v, t, jnp.float32(14.3), jnp.float32(BIAS), e, jnp.asarray(groups), tile=tile)
    for name, value in got.items():
        assert value.dtype == jnp.float32
        assert abs(float(value) - right[name]) <= 1e-2 * max(1, abs(right[name])), name


@pytest.mark.parametrize("tile", TILES)
def test_bfloat16_gradients(unit_rows, tile):
    """In the inputs' dtype, and as those of the same numbers in float32."""
    v, t, e, groups = clouds(unit_rows, 33, 64)
    half = [jnp.asarray(x, jnp.bfloat16) for x in (v, t, e)]
    full = [x.astype(jnp.float32) for x in half]

    def of_all(v, t, e, tile):
        def summed(v, t):
            return sum(ours(v, t, 14.3, BIAS, e, jnp.asarray(groups), tile=tile).values())

        return jax.grad(summed, argnums=(0, 1))(v, t)

    for a, b in zip(of_all(*half, tile), of_all(*full, None), strict=True):
        assert a.dtype == jnp.bfloat16
        assert float(jnp.abs(a - b).max()) <= 1e-2 * max(1.0, float(jnp.abs(b).max()))


@pytest.mark.parametrize("tile", TILES)
def test_collapse_and_extreme_scale_give_no_nan(unit_rows, tile):
    v = jnp.asarray(np.repeat(unit_rows(1, 8, 0), 16, axis=0), jnp.float32)

    def everything(v, t):
        groups = jnp.zeros(16, jnp.int32)  # All of one group: no negatives at all.
        return sum(ours(v, t, jnp.float32(100), BIAS, v, groups, tile=tile).values())

    value, gradients = jax.value_and_grad(everything, argnums=(0, 1))(v, v)
    assert np.isfinite(float(value))
    assert all(np.isfinite(np.asarray(g)).all() for g in gradients)


def test_a_pair_of_opposite_rows_has_no_centroid(unit_rows):
    v, t, _, _ = clouds(unit_rows, 5, 8)
    t[2] = -v[2]
    value, gradient = jax.value_and_grad(objectives.centroid_uniformity_loss)(*single(v, t))
    assert np.isfinite(float(value)) and np.isfinite(gradient).all()
    assert not np.asarray(gradient)[2].any() and np.asarray(gradient)[1].any()


class TestMedianSigma:
    """The width that a batch gives the kernel of the Cauchy-Schwarz divergence."""

    @pytest.mark.parametrize("tile", TILES)
    @pytest.mark.parametrize(("batch", "dimension"), [(1, 8), (2, 8), (7, 8), (131, 64)])
    def test_is_the_lower_median(self, unit_rows, batch, dimension, tile):
        for duplicates in (False, True):
            v, t, _, _ = clouds(unit_rows, batch, dimension, duplicates)
            wanted = reference.median_sigma(v, t)
            found = jax.jit(lambda *x: median_sigma(make_pairs(*x), tile))(*single(v, t))
            assert float(found) == pytest.approx(wanted, abs=1e-6)

    @pytest.mark.parametrize("tile", TILES)
    def test_no_gradient_flows_through_it(self, unit_rows, tile):
        v, t, _, _ = clouds(unit_rows, 9, 8)
        given = {"sigma": reference.median_sigma(v, t)}
        of = [
            jax.value_and_grad(
                lambda *x, own=own: objectives.cauchy_schwarz_loss(*x, **own, tile=tile), (0, 1)
            )(*single(v, t))
            for own in ({}, given)
        ]
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *of)

    def test_rows_that_have_collapsed(self, unit_rows):
        v = jnp.asarray(np.repeat(unit_rows(1, 8, 0), 16, axis=0), jnp.float32)
        value, gradient = jax.value_and_grad(objectives.cauchy_schwarz_loss)(v, v)
        assert float(value) == pytest.approx(0.0, abs=1e-2)
        assert np.isfinite(np.asarray(gradient)).all()


def test_shapes_that_differ_are_refused(unit_rows):
    v, t = unit_rows(4, 8, 0), unit_rows(5, 8, 1)
    for loss in (objectives.contrastive_loss, objectives.separation_loss):
        with pytest.raises(AssertionError, match="shape"):
            loss(v, t, jnp.float32(1))
    with pytest.raises(ValueError, match="tile=0 must be at least 1"):
        objectives.uniformity_loss(v, tile=0)


@pytest.mark.parametrize("tile", [None, 4])
def test_lists_are_arrays_too(unit_rows, tile):
    given = [np.asarray(x).tolist() for x in clouds(unit_rows, 5, 4, duplicates=True)]
    lists = calls(*given[:2], 10.0, BIAS, *given[2:], tile)
    v, t, e, groups = map(np.asarray, given)
    for name, call in calls(v, t, 10.0, BIAS, e, groups, tile).items():
        assert float(lists[name]()) == float(call()), name
    noise = objectives.random_alignment_loss(v, t, v)
    assert float(objectives.random_alignment_loss(*given[:2], given[0])) == float(noise)


class TestTotal:
    """`total` is the weighted sum of what the config names."""

    def run(self, unit_rows, **fields):
        v, t, e, groups = clouds(unit_rows, 9, 8, duplicates=True)
        config = default()
        config.objective.update(fields)
        loss, terms = objectives.total(config)(
            *(jnp.asarray(x, jnp.float32) for x in (v, t, 14.3)), None, jnp.asarray(e), groups
        )
        return float(loss), {k: float(x) for k, x in terms.items()}, (v, t, e, groups)

    def test_default_is_half_of_the_papers_total(self, unit_rows):
        loss, _, (v, t, e, _) = self.run(unit_rows, separation_weight=0.25)
        logits = 14.3 * v @ t.T
        everyone = np.ones_like(logits, bool)
        both = sum(reference.cross_entropy(x, everyone) for x in (logits, logits.T))
        papers = both + 0.5 * reference.separation(v, t, 14.3, e)
        assert loss == pytest.approx(0.5 * papers, abs=1e-4)

    def test_text_separated_without_rescaling(self, unit_rows):
        fields = {"contrastive_weight": 0.0, "separation_weight": 2.0, "semantic_rescaling": False}
        loss, terms, (v, t, _, _) = self.run(unit_rows, separated=("text",), **fields)
        assert set(terms) == {"separation_text"}
        assert loss == pytest.approx(2 * reference.separation(t, v, 14.3), abs=1e-4)

    def test_same_concept_masked(self, unit_rows):
        loss, _, (v, t, _, groups) = self.run(unit_rows, mask_duplicates="concept")
        assert loss == pytest.approx(reference.contrastive(v, t, 14.3, groups), abs=1e-4)

    @pytest.mark.parametrize("sigma", [0.0, 0.4])
    def test_the_width_of_the_divergence(self, unit_rows, sigma):
        fields = {"cauchy_schwarz_weight": 0.5, "cauchy_schwarz_sigma": sigma}
        loss, terms, (v, t, _, _) = self.run(unit_rows, contrastive_weight=0.0, **fields)
        wanted = reference.cauchy_schwarz(v, t, sigma or reference.median_sigma(v, t))
        assert terms["cauchy_schwarz"] == pytest.approx(wanted, abs=1e-5)
        assert loss == pytest.approx(0.5 * wanted, abs=1e-5)

    def test_terms_without_weight_are_not_computed(self, unit_rows):
        _, terms, _ = self.run(unit_rows)
        assert set(terms) == {"contrastive"}
