"""Parameters as a tree: made, described without being made, and named by their paths."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

BOX = jax.tree_util.GetAttrKey("value")  # Of flax.linen.LogicallyPartitioned.


def initial(config: ConfigDict, module: nn.Module) -> Any:
    """A DualEncoder's at step 0 from the config's seed, boxed with their logical axis names."""
    image, text = config.model.image, config.model.text
    return _initial(jax.random.key(config.seed), module, image.size, text.context_length)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))  # Traced once for all who ask.
def _initial(key: Array, module: nn.Module, size: int, context_length: int) -> Any:
    images, tokens = jnp.zeros((1, size, size, 3)), jnp.zeros((1, context_length), jnp.int32)
    return module.init(key, images, tokens)["params"]


def abstract(config: ConfigDict, module: nn.Module) -> Any:
    """Their shapes, dtypes and logical axis names; nothing is allocated."""
    return jax.eval_shape(lambda: initial(config, module))


def path_name(path: tuple[Any, ...]) -> str:
    """As a config's patterns, tables and errors say it: text_transformer/blocks/mlp/hidden/kernel.

    In any tree that holds parameters; the box of an array's logical axis names is no part of it.
    """
    keys = [part for part in path if part != BOX]
    return jax.tree_util.keystr(tuple(keys), simple=True, separator="/")
