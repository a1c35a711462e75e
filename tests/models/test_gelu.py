"""Activations and their slopes against the formulas in float64; what half precision loses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf, expit

from aligngap.models.gelu import ACTIVATIONS

WANTED = {
    "gelu": lambda x: x * 0.5 * (1 + erf(x / np.sqrt(2))),
    "gelu_tanh": lambda x: x * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x * expit(1.702 * x),
}
STEP = 1e-5  # Of central differences in float64.
X = np.linspace(-9, 9, 4001)
GRADIENT = np.random.default_rng(0).normal(size=X.shape)


def slope(name, x):
    return (WANTED[name](x + STEP) - WANTED[name](x - STEP)) / (2 * STEP)


def found(name, x, gradient):
    """Value and gradient; jitted, as training runs them."""
    value, back = jax.vjp(jax.jit(ACTIVATIONS[name]), x)
    return np.asarray(value, np.float64), np.asarray(back(gradient)[0], np.float64)


@pytest.mark.parametrize("name", WANTED)
def test_values_and_slopes(name):
    value, back = found(name, jnp.asarray(X, jnp.float32), jnp.asarray(GRADIENT, jnp.float32))
    np.testing.assert_allclose(value, WANTED[name](X), atol=2e-6)
    np.testing.assert_allclose(back, GRADIENT * slope(name, X), atol=1e-5)


def test_gelu_is_x_times_the_normal_distribution_and_so_is_its_slope():
    x, gradient = np.linspace(-8, 8, 4001), GRADIENT
    cdf = 0.5 * (1 + erf(x / np.sqrt(2)))
    slope = cdf + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    value, back = found("gelu", jnp.asarray(x, jnp.float32), jnp.asarray(gradient, jnp.float32))
    np.testing.assert_allclose(value, x * cdf, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(back, gradient * slope, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", WANTED)
@pytest.mark.parametrize(("dtype", "bits"), [(jnp.bfloat16, 8), (jnp.float16, 11)])
def test_half_precision_is_rounded_once(name, dtype, bits):
    x, gradient = jnp.asarray(X, dtype), jnp.asarray(GRADIENT, dtype)
    value, back = found(name, x, gradient)
    exact, given = np.asarray(x, np.float64), np.asarray(gradient, np.float64)
    for got, wanted in ((value, WANTED[name](exact)), (back, given * slope(name, exact))):
        half_a_place = 2.0**-bits * np.abs(wanted)
        assert (np.abs(got - wanted) <= 1.001 * half_a_place + 1e-5).all()


def test_gelus_tail_goes_to_zero_and_stays_on_its_side():
    """Where 1 + erf is nothing but rounding."""
    x = jnp.asarray([-3.0, -6.0, -40.0, -1e4, 1e4], jnp.bfloat16)
    value = np.asarray(ACTIVATIONS["gelu"](x), np.float64)
    assert (value[:2] < 0).all() and value[1] > -1e-7 and (value[2:4] == 0).all()
    assert value[-1] == float(x[-1])
