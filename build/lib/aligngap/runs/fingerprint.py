"""A number for each array that any flipped bit changes, whatever devices the array lies on.

A sum of integers does not depend on the order of its terms, so the numbers that were taken on one
mesh are found again on another: what a checkpoint says of itself is checked after it is restored.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt

from aligngap.models.parameters import path_name

WORD = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}  # Bytes of an element → its bits as a number.
# Odd, so that it has an inverse modulo 2³²: times it, no change of an element comes to nothing.
FACTOR = 2_654_435_761  # Knuth, The Art of Computer Programming 3, §6.4.


def take(tree: Any) -> dict[str, int]:
    """Path of each array → its fingerprint in [0, 2³²)."""
    leaves = jax.tree.leaves_with_path(tree)
    numbers = jax.device_get(_numbers([leaf for _, leaf in leaves]))
    names = [path_name(path) for path, _ in leaves]
    return {name: int(number) for name, number in zip(names, numbers, strict=True)}


@jax.jit
def _numbers(leaves: list[Array]) -> list[UInt[Array, ""]]:
    return [_number(leaf) for leaf in leaves]


def _number(array: Array) -> UInt[Array, ""]:
    """Σ_i bits_i · (FACTOR·i | 1) mod 2³², i the position in the flat array."""
    bits = jax.lax.bitcast_convert_type(array, WORD[array.dtype.itemsize]).astype(jnp.uint32)
    position = jnp.zeros(array.shape, jnp.uint32)
    for axis in range(array.ndim):
        stride = math.prod(array.shape[axis + 1 :]) % 2**32
        along = jax.lax.broadcasted_iota(jnp.uint32, array.shape, axis)
        position += along * jnp.uint32(stride)
    weight = (position * jnp.uint32(FACTOR)) | jnp.uint32(1)
    return jnp.sum(bits * weight, dtype=jnp.uint32)
