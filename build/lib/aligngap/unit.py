"""Rows of length 1, in NumPy and in JAX: the one place that normalises embeddings.

A zero row has no direction and stays zero: no length counts as less than `smallest`. With
`smallest=0` it becomes nan instead, for rows that cannot be zero unless something is wrong.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

SMALLEST = 1e-12


def unit_rows(x: Float[Array, "*N D"], smallest: float = SMALLEST) -> Float[Array, "*N D"]:
    """x / ‖x‖ along the last axis, in the dtype of x; may be traced and differentiated."""
    norm = jnp.linalg.norm(x, axis=-1, keepdims=True)
    # A maximum, even with 0, would keep XLA from x·rsqrt(Σx²): other last bits.
    return x / (jnp.maximum(norm, smallest) if smallest else norm)


def unit_rows_numpy(
    x: Float[np.ndarray, "*N D"], smallest: float = SMALLEST
) -> Float[np.ndarray, "*N D"]:
    """`unit_rows` of NumPy arrays, in the dtype of x: where float64 is to stay float64."""
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), smallest)
