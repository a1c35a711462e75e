"""Inner products of embeddings, at the precision that every loss and measure here relies on."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def products(a: Float[Array, "A D"], b: Float[Array, "B D"]) -> Float[Array, "A B"]:
    """a·bᵀ in float32. `highest`: a GPU's default TF32 would cost three of the seven digits."""
    return jnp.einsum(
        "ad,bd->ab", a, b, precision=jax.lax.Precision.HIGHEST, preferred_element_type=jnp.float32
    )


def paired(a: Float[Array, "B D"], b: Float[Array, "B D"]) -> Float[Array, "B"]:
    """Inner product of each row of a with the same row of b, in float32."""
    return jnp.sum(a.astype(jnp.float32) * b.astype(jnp.float32), axis=-1)
