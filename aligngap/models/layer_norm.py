"""Layer normalisation that keeps what enters it for the backward pass, and two numbers a row.

flax.linen's is differentiated operation by operation: its backward pass finds six float32 arrays of
the input's shape in a block, on a GPU 24 of the 54 bytes a number that a block in bfloat16 keeps.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Kept = tuple[Array, Array, Array, Array]


class LayerNorm(nn.Module):
    """Over the last axis, in float32, with scale and bias; the result in `dtype`."""

    epsilon: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "... W"]) -> Float[Array, "... W"]:
        def parameter(name: str, init: Any) -> Array:
            init = nn.with_logical_partitioning(init, ("embed",))
            return self.param(name, init, x.shape[-1:], jnp.float32)

        scale = parameter("scale", nn.initializers.ones)
        bias = parameter("bias", nn.initializers.zeros)
        # As rows, whose layout in memory leaves XLA no choice: it would put the batch last.
        rows = x.reshape(-1, x.shape[-1])
        return normalise(rows, scale, bias, self.epsilon, self.dtype).reshape(x.shape)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def normalise(
    x: Float[Array, "N W"],
    scale: Float[Array, "W"],
    bias: Float[Array, "W"],
    epsilon: float,
    dtype: Any,
) -> Float[Array, "N W"]:
    """(x − mean)/√(variance + ε) · scale + bias (Ba, Kiros & Hinton 2016, equation 4)."""
    return _forward(x, scale, bias, epsilon, dtype)[0]


def _forward(x: Array, scale: Array, bias: Array, epsilon: float, dtype: Any) -> tuple[Array, Kept]:
    wide = x.astype(jnp.float32)
    mean = jnp.mean(wide, axis=-1, keepdims=True)
    # From the squares, so that x is read once; rounding can take it below zero.
    square = jnp.mean(wide * wide, axis=-1, keepdims=True)
    inverse = jax.lax.rsqrt(jnp.maximum(square - mean * mean, 0.0) + epsilon)
    out = (wide - mean) * (inverse * scale) + bias
    return out.astype(dtype), (x, mean, inverse, scale)


def _backward(
    epsilon: float, dtype: Any, kept: Kept, gradient: Array
) -> tuple[Array, Array, Array]:
    x, mean, inverse, scale = kept
    normal = (x.astype(jnp.float32) - mean) * inverse
    gradient = gradient.astype(jnp.float32)
    of_normal = gradient * scale
    along = jnp.mean(of_normal * normal, axis=-1, keepdims=True)
    level = jnp.mean(of_normal, axis=-1, keepdims=True)
    of_x = inverse * (of_normal - level - normal * along)
    return of_x.astype(x.dtype), jnp.sum(gradient * normal, axis=0), jnp.sum(gradient, axis=0)


normalise.defvjp(_forward, _backward)
