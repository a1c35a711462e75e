"""Parameters as a tree: made, described without being made, and named by their paths."""

from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from aligngap.models.dual_encoder import DualEncoder


def initial(config: ConfigDict, module: DualEncoder) -> Any:
    """Those at step 0 from the config's seed, boxed with their logical axis names."""
    image, text = config.model.image, config.model.text
    variables = module.init(
        jax.random.key(config.seed),
        jnp.zeros((1, image.size, image.size, 3)),
        jnp.zeros((1, text.context_length), jnp.int32),
    )
    return variables["params"]


def abstract(config: ConfigDict, module: DualEncoder) -> Any:
    """Their shapes, dtypes and logical axis names; nothing is allocated."""
    return jax.eval_shape(lambda: initial(config, module))


def path_name(path: tuple[Any, ...]) -> str:
    """As patterns in a config see it, e.g. text_transformer/blocks/mlp_in/kernel."""
    keys = [part for part in path if isinstance(part, jax.tree_util.DictKey)]
    return jax.tree_util.keystr(tuple(keys), simple=True, separator="/")
