"""Layer normalisation against float64 NumPy, its gradients by central differences."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aligngap.models.layer_norm import LayerNorm, normalise

EPSILON, STEP = 1e-5, 1e-6
RANDOM = np.random.default_rng(0)


def reference(x, scale, bias):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + EPSILON) * scale + bias


def numbers(rows, width=24):
    return RANDOM.normal(2, 3, (rows, width)), RANDOM.normal(size=width), RANDOM.normal(size=width)


@pytest.mark.parametrize("rows", [1, 7])
def test_values_and_gradients(rows):
    given, gradient = numbers(rows), RANDOM.normal(size=(rows, 24))
    floats = [jnp.asarray(a, jnp.float32) for a in given]
    value, back = jax.vjp(lambda *a: normalise(*a, EPSILON, jnp.float32), *floats)
    np.testing.assert_allclose(value, reference(*given), rtol=1e-5, atol=1e-5)
    for i, found in enumerate(back(jnp.asarray(gradient, jnp.float32))):
        direction = RANDOM.normal(size=given[i].shape)
        up, down = (
            (reference(*given[:i], given[i] + sign * STEP * direction, *given[i + 1 :]) * gradient)
            for sign in (1, -1)
        )
        slope = (up - down).sum() / (2 * STEP)
        along = (np.asarray(found, np.float64) * direction).sum()
        np.testing.assert_allclose(along, slope, rtol=1e-4, atol=1e-4)


def test_it_is_flax_s_in_half_precision_too():
    """Whose derivative goes through float32 arrays of the input's shape."""
    x = jnp.asarray(RANDOM.normal(size=(3, 5, 24)), jnp.bfloat16)
    weights = jnp.asarray(RANDOM.normal(size=x.shape), jnp.float32)
    ours, theirs = LayerNorm(EPSILON, jnp.bfloat16), nn.LayerNorm(EPSILON, jnp.bfloat16)
    params = theirs.init(jax.random.key(0), x)
    params = jax.tree.map(lambda p: jnp.asarray(RANDOM.normal(size=p.shape), p.dtype), params)

    def of(module):
        def summed(params, x):
            return jnp.sum(module.apply(params, x).astype(jnp.float32) * weights)

        return module.apply(params, x), *jax.tree.leaves(jax.grad(summed, (0, 1))(params, x))

    assert jax.tree.structure(nn.unbox(ours.init(jax.random.key(0), x))) == jax.tree.structure(
        params
    )
    for found, wanted in zip(of(ours), of(theirs), strict=True):
        assert found.dtype == wanted.dtype
        found, wanted = (np.asarray(a, np.float32) for a in (found, wanted))
        np.testing.assert_allclose(found, wanted, rtol=2e-2, atol=2e-2)


def test_a_row_of_one_value_gives_the_bias_and_finite_gradients():
    x = jnp.full((2, 24), 3e3)
    scale, bias = jnp.ones(24), jnp.arange(24.0)
    value, back = jax.vjp(lambda *a: normalise(*a, EPSILON, jnp.float32), x, scale, bias)
    np.testing.assert_allclose(value, np.broadcast_to(bias, x.shape), atol=1e-3)
    assert all(np.isfinite(one).all() for one in back(jnp.ones_like(value)))


def test_what_the_backward_pass_keeps_of_the_input_is_the_input():
    """Not float32 arrays of its shape, which would be most of a block's memory."""
    x, (_, scale, bias) = jnp.zeros((8, 24), jnp.bfloat16), numbers(1)
    _, back = jax.vjp(lambda *a: normalise(*a, EPSILON, jnp.bfloat16), x, scale, bias)
    kept = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(back)]
    assert [shape for shape, _ in kept].count((8, 24)) == 1 and ((8, 24), x.dtype) in kept
