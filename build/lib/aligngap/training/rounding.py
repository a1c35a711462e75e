"""Moments of an optimiser kept in bfloat16: computed in float32, rounded stochastically.

To the nearest, a moment of decay b stands still where a step changes it by less than half of
bfloat16's spacing: at b2 = 0.999 a second moment never falls again, since a step takes at most
0.1 % of it and the spacing is 0.4 to 0.8 %. Rounded up or down by chance in proportion to what is
nearer, it moves as it should in the mean. (optax's `mu_dtype` rounds the first moment alone, to the
nearest.)
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, BFloat16, Float32, Int
from jaxtyping import Key as KeyArray

STREAM = 0x0B16  # Of the keys that round: no others of a seed are folded with it.


class RoundedState(NamedTuple):
    """An optimiser's state whose floating-point arrays are bfloat16."""

    step: Int[Array, ""]  # Updates made.
    inner: Any


def in_bfloat16(tx: optax.GradientTransformation, seed: int) -> optax.GradientTransformation:
    """`tx` with its state kept in bfloat16; how it is rounded is a function of (seed, step)."""

    def init(params: Any) -> RoundedState:
        inner = _each_float(lambda x, _: x.astype(jnp.bfloat16), tx.init(params))
        return RoundedState(jnp.zeros((), jnp.int32), inner)

    def update(updates: Any, state: RoundedState, params: Any = None) -> tuple[Any, RoundedState]:
        wide = _each_float(lambda x, _: x.astype(jnp.float32), state.inner)
        updates, after = tx.update(updates, wide, params)
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), STREAM), state.step)
        rounded = _each_float(lambda x, i: stochastically(x, jax.random.fold_in(key, i)), after)
        return updates, RoundedState(state.step + 1, rounded)

    return optax.GradientTransformation(init, update)


def stochastically(
    x: Float32[Array, "*shape"], key: KeyArray[Array, ""]
) -> BFloat16[Array, "*shape"]:
    """One of the two neighbours of x in bfloat16, so that its mean is x; x where it is one."""
    # bfloat16 is the upper half of float32: noise below it carries into it in proportion.
    noise = jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    upper = jax.lax.bitcast_convert_type((bits + noise) & jnp.uint32(0xFFFF0000), jnp.float32)
    return jnp.where(jnp.isfinite(x), upper, x).astype(jnp.bfloat16)


def _each_float(function: Any, tree: Any) -> Any:
    """`function` of each floating-point array and its number; others, such as counts, as is."""
    leaves, structure = jax.tree.flatten(tree)
    floats = [jnp.issubdtype(x.dtype, jnp.floating) for x in leaves]
    new = [function(x, i) if floats[i] else x for i, x in enumerate(leaves)]
    return jax.tree.unflatten(structure, new)
