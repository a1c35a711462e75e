"""Values and gradients of every loss against float64 NumPy, and its edge cases."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aligngap import objectives
from aligngap.config import default

sys.path.insert(0, str(Path(__file__).parent))
import reference

TOLERANCE = 1e-5
SHAPES = [(2, 8), (7, 8), (33, 64), (64, 512)]


def losses(v, t, scale, semantics, groups, module, **kw):
    """name → value, by our functions or by the reference's."""
    if module is reference:
        return {
            "contrastive": reference.contrastive(v, t, scale),
            "grouped": reference.contrastive(v, t, scale, groups=groups),
            "smoothed": reference.contrastive(v, t, scale, groups=groups, smoothing=0.1),
            "separation": reference.separation(v, t, scale),
            "rescaled": reference.separation(v, t, scale, semantics),
            "alignment": reference.alignment(v, t),
            "uniformity": reference.potential(v, v, 2.0, same=True),
            "cross_uniformity": reference.potential(v, t, 2.0, same=False),
        }
    return {
        "contrastive": module.contrastive_loss(v, t, scale),
        "grouped": module.contrastive_loss(v, t, scale, groups=groups),
        "smoothed": module.contrastive_loss(v, t, scale, groups=groups, label_smoothing=0.1),
        "separation": module.separation_loss(v, t, scale),
        "rescaled": module.separation_loss(v, t, scale, semantics=semantics),
        "alignment": module.alignment_loss(v, t),
        "uniformity": module.uniformity_loss(v),
        "cross_uniformity": module.cross_uniformity_loss(v, t),
    }


def clouds(unit_rows, batch, dimension, duplicates=False):
    v, t, e = (unit_rows(batch, size, seed) for seed, size in enumerate((dimension, dimension, 16)))
    groups = np.arange(batch) // (2 if duplicates else 1)
    if duplicates:
        t, e = t[groups], e[groups]  # Pairs of rows that have the same caption.
    return v, t, e, groups


@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
@pytest.mark.parametrize("duplicates", [False, True])
@pytest.mark.parametrize(("batch", "dimension"), SHAPES)
def test_values(unit_rows, batch, dimension, duplicates, scale):
    v, t, e, groups = clouds(unit_rows, batch, dimension, duplicates)
    wanted = losses(v, t, scale, e, groups, reference)
    arrays = (jnp.asarray(x, jnp.float32) for x in (v, t, scale, e))
    v32, t32, s32, e32 = arrays
    got = losses(v32, t32, s32, e32, jnp.asarray(groups), objectives)
    for name, value in got.items():
        assert value.dtype == jnp.float32
        assert abs(float(value) - wanted[name]) <= TOLERANCE * max(1, abs(wanted[name])), name


@pytest.mark.parametrize("scale", [1.0, 14.3])
@pytest.mark.parametrize("name", losses(*[np.eye(2)] * 2, 1.0, np.eye(2), np.arange(2), reference))
def test_gradients_by_finite_differences(unit_rows, name, scale):
    """On the tangent of the sphere, of both embeddings and the scale, along random directions."""
    v, t, e, groups = clouds(unit_rows, 9, 8, duplicates=True)

    def ours(v, t, s):
        return losses(v, t, s, jnp.asarray(e, jnp.float32), jnp.asarray(groups), objectives)[name]

    inputs = [jnp.asarray(x, jnp.float32) for x in (v, t, scale)]
    gradients = [np.asarray(g, np.float64) for g in jax.grad(ours, argnums=(0, 1, 2))(*inputs)]
    random, step = np.random.default_rng(3), 1e-5
    largest = max(np.abs(g).max() for g in gradients)
    for _ in range(5):
        directions = []
        for rows in (v, t):
            d = random.normal(size=rows.shape)
            directions.append(d - np.sum(d * rows, axis=1, keepdims=True) * rows)
        directions.append(random.normal())

        def at(h, directions=directions):
            moved = [x + h * d for x, d in zip((v, t), directions[:2], strict=True)]
            moved = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in moved]
            values = losses(*moved, scale + h * directions[2], e, groups, reference)
            return values[name]

        numeric = (at(step) - at(-step)) / (2 * step)
        analytic = sum(float(np.sum(g * d)) for g, d in zip(gradients, directions, strict=True))
        assert abs(numeric - analytic) <= 2e-5 * max(1.0, largest), (numeric, analytic)


def test_semantics_get_no_gradient(unit_rows):
    v, t, e, _ = clouds(unit_rows, 5, 8)
    gradient = jax.grad(lambda e: objectives.separation_loss(v, t, jnp.float32(10), semantics=e))(
        jnp.asarray(e, jnp.float32)
    )
    assert not np.asarray(gradient).any()


def test_one_pair(unit_rows):
    v, t, e, groups = clouds(unit_rows, 1, 8)
    values = losses(v, t, jnp.float32(10), e, jnp.asarray(groups), objectives)
    assert float(values.pop("alignment")) == pytest.approx(reference.alignment(v, t), abs=1e-6)
    assert {name: float(value) for name, value in values.items()} == dict.fromkeys(values, 0.0)


def test_a_duplicate_caption_is_neither_repelled_nor_masked(unit_rows):
    """Its semantic distance is 0, so its logit is 0 = s·0, whatever the images' similarity."""
    v, t, e, _ = clouds(unit_rows, 2, 8)
    e = np.stack([e[0], e[0]])
    value = objectives.separation_loss(v, t, jnp.float32(7), semantics=jnp.asarray(e))
    wanted = np.mean([np.log1p(np.exp(-7 * v[i] @ t[i])) for i in range(2)])
    assert float(value) == pytest.approx(wanted, abs=1e-5)


def test_bfloat16_input(unit_rows):
    v, t, e, groups = clouds(unit_rows, 33, 64)
    wanted = losses(v, t, 14.3, e, groups, reference)
    half = [jnp.asarray(x, jnp.bfloat16) for x in (v, t)]
    got = losses(*half, jnp.float32(14.3), jnp.asarray(e, jnp.bfloat16), groups, objectives)
    for name, value in got.items():
        assert value.dtype == jnp.float32
        assert abs(float(value) - wanted[name]) <= 1e-2 * max(1, abs(wanted[name])), name


def test_collapse_and_extreme_scale_give_no_nan(unit_rows):
    v = jnp.asarray(np.repeat(unit_rows(1, 8, 0), 16, axis=0), jnp.float32)

    def everything(v, t):
        groups = jnp.zeros(16, jnp.int32)  # All of one group: no negatives at all.
        return sum(losses(v, t, jnp.float32(100), v, groups, objectives).values())

    value, gradients = jax.value_and_grad(everything, argnums=(0, 1))(v, v)
    assert np.isfinite(float(value))
    assert all(np.isfinite(np.asarray(g)).all() for g in gradients)


def test_shapes_that_differ_are_refused(unit_rows):
    v, t = unit_rows(4, 8, 0), unit_rows(5, 8, 1)
    for loss in (objectives.contrastive_loss, objectives.separation_loss):
        with pytest.raises(AssertionError, match="shape"):
            loss(v, t, jnp.float32(1))


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
        loss, _, (v, t, _, groups) = self.run(unit_rows, mask_same_concept=True)
        assert loss == pytest.approx(reference.contrastive(v, t, 14.3, groups), abs=1e-4)

    def test_terms_without_weight_are_not_computed(self, unit_rows):
        _, terms, _ = self.run(unit_rows)
        assert set(terms) == {"contrastive"}


def test_global_batch_under_a_mesh(unit_rows):
    """Sharded over eight devices, each loss and gradient is that of the whole batch."""
    from jax.sharding import NamedSharding, PartitionSpec

    v, t, e, groups = clouds(unit_rows, 64, 16, duplicates=True)
    arrays = [jnp.asarray(x, jnp.float32) for x in (v, t, e)] + [jnp.asarray(groups)]

    def everything(v, t, e, groups):
        return sum(losses(v, t, jnp.float32(14.3), e, groups, objectives).values())

    wanted = jax.value_and_grad(everything, argnums=(0, 1))(*arrays)
    mesh = jax.make_mesh((4, 2), ("data", "fsdp"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    sharding = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
    with jax.set_mesh(mesh):
        placed = [jax.device_put(x, sharding) for x in arrays]
        got = jax.jit(jax.value_and_grad(everything, argnums=(0, 1)))(*placed)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, wanted)
