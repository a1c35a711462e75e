"""Moments in bfloat16: rounding without bias, and what it is for."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aligngap.training import rounding

KEY = jax.random.key(0)


@pytest.mark.parametrize("value", [1.0 + 2**-9, -3.1, 1e-12, 7e-40])
def test_the_mean_of_what_is_rounded_is_the_value(value):
    many = 1 << 16
    found = np.float64(rounding.stochastically(jnp.full(many, value, jnp.float32), KEY))
    exact = float(np.float32(value))
    neighbours = sorted(set(found))
    assert len(neighbours) == 2 and neighbours[0] < exact < neighbours[1]
    gap = neighbours[1] - neighbours[0]
    assert abs(found.mean() - exact) < 4 * gap / np.sqrt(many) / 2


@pytest.mark.parametrize("value", [0.0, 1.5, -(2.0**-100), np.inf, -np.inf, np.nan])
def test_what_bfloat16_holds_stays_as_it_is(value):
    found = rounding.stochastically(jnp.full(64, value, jnp.float32), KEY)
    np.testing.assert_array_equal(found.astype(jnp.float32), np.float32(value))


def adam(gradients, dtype, b2):
    tx = optax.scale_by_adam(0.9, b2, 1e-8)
    tx = rounding.in_bfloat16(tx, seed=0) if dtype == jnp.bfloat16 else tx
    params = jnp.zeros(gradients.shape[1:])
    apply, state, updates = jax.jit(tx.update), tx.init(params), []
    for gradient in gradients:
        update, state = apply(gradient, state)
        updates.append(update)
    return np.stack(updates), state


def test_a_second_moment_falls_when_gradients_do():
    """After steps of size 1, 700 of size 0: rounded to the nearest, v would stay where it was."""
    gradients = jnp.concatenate([jnp.ones((10, 512)), jnp.zeros((700, 512))])
    _, exact = adam(gradients, jnp.float32, 0.999)
    _, found = adam(gradients, jnp.bfloat16, 0.999)
    assert {x.dtype for x in (found.inner.mu, found.inner.nu)} == {jnp.dtype(jnp.bfloat16)}
    v = np.asarray(found.inner.nu, np.float64).mean()
    assert v == pytest.approx(float(exact.nu.mean()), rel=0.02)
    nearest = jnp.asarray(float(exact.nu[0]) * 2, jnp.bfloat16)
    assert jnp.bfloat16(nearest * jnp.float32(0.999)) == nearest


def test_how_it_is_rounded_is_a_function_of_seed_and_step():
    gradients = jax.random.normal(KEY, (4, 256))
    first, state = adam(gradients, jnp.bfloat16, 0.98)
    again, _ = adam(gradients, jnp.bfloat16, 0.98)
    exact, _ = adam(gradients, jnp.float32, 0.98)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first, exact, rtol=0.03, atol=0.01)
    assert np.abs(first - exact).max() > 0
    assert int(state.step) == 4
    x = jnp.full(256, 1.003, jnp.float32)
    draws = {rounding.stochastically(x, jax.random.fold_in(KEY, i)).tobytes() for i in range(3)}
    assert len(draws) == 3
