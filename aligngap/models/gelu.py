"""GELU and its approximations, each with its slope: in half precision computed in float32 and
rounded once; the backward pass finds what came in, and nothing else, kept."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Both = Callable[[Array], tuple[Array, Array]]  # Value and slope, in float32.


def _activation(both: Both) -> Callable[[Float[Array, "..."]], Float[Array, "..."]]:
    """What is not asked for of `both`, XLA does not compute."""

    @jax.custom_vjp
    def activation(x: Array) -> Array:
        return both(x)[0].astype(x.dtype)

    def forward(x: Array) -> tuple[Array, Array]:
        return activation(x), x

    def backward(x: Array, gradient: Array) -> tuple[Array]:
        if x.dtype.itemsize < 4:
            # Else XLA may keep it in float32, which the forward pass has made of it.
            x = jax.lax.optimization_barrier(x)
        return ((_wide(gradient) * both(x)[1]).astype(x.dtype),)

    activation.defvjp(forward, backward)
    return activation


def _wide(x: Array) -> Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _gelu(x: Array) -> tuple[Array, Array]:
    """x·Φ(x), exact (Hendrycks & Gimpel 2016)."""
    wide = _wide(x)
    cdf, density = (_normal_of_half if x.dtype.itemsize < 4 else _normal)(wide)
    return wide * cdf, cdf + wide * density


def _normal(x: Array) -> tuple[Array, Array]:
    """Φ and φ. By erf, as torch does: jax.nn.gelu's erfc costs several times as much."""
    return 0.5 + 0.5 * jax.lax.erf(x * math.sqrt(0.5)), _density(jnp.exp(-0.5 * x * x))


# Abramowitz & Stegun 1964, 7.1.26: erf within 1.5e-7.
NEAR, SERIES = 0.3275911, (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


def _normal_of_half(x: Array) -> tuple[Array, Array]:
    """Φ and φ from one exponential, within 5e-7: by erf, GELU's slope takes a GPU longer than the
    memory that it moves."""
    exponential = jnp.exp(-0.5 * x * x)
    # 1/d by d^-1/2, for which a GPU has an instruction.
    near = jnp.square(jax.lax.rsqrt(1 + NEAR * math.sqrt(0.5) * jnp.abs(x)))
    series = jnp.zeros_like(x)
    for term in reversed(SERIES):
        series = (series + term) * near
    outside = 0.5 * series * exponential
    return jnp.where(x < 0, outside, 1 - outside), _density(exponential)


def _density(exponential: Array) -> Array:
    return exponential * (1 / math.sqrt(2 * math.pi))


def _gelu_tanh(x: Array) -> tuple[Array, Array]:
    """x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))) (Hendrycks & Gimpel 2016), as x·σ(2·…): 1 + tanh is
    nothing but rounding where x is far below 0."""
    wide, rate = _wide(x), 2 * math.sqrt(2 / math.pi)
    square = wide * wide
    slope = rate * (1 + 3 * 0.044715 * square)
    return _gated(wide, rate * wide * (1 + 0.044715 * square), slope)


def _quick_gelu(x: Array) -> tuple[Array, Array]:
    """x·σ(1.702·x), of OpenAI's weights."""
    wide = _wide(x)
    return _gated(wide, 1.702 * wide, 1.702)


def _gated(x: Array, gate: Array, slope: Array | float) -> tuple[Array, Array]:
    """x·σ(gate), and its slope by that of the gate."""
    sigmoid = jax.nn.sigmoid(gate)
    return x * sigmoid, sigmoid * (1 + x * slope * (1 - sigmoid))


ACTIVATIONS = {
    "gelu": _activation(_gelu),
    "gelu_tanh": _activation(_gelu_tanh),
    "quick_gelu": _activation(_quick_gelu),
}
