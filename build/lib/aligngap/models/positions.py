"""Position embeddings of images for another resolution than a model was trained at."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aligngap.models.resnet import REDUCTION


def fitted(params: Any, model: ConfigDict) -> Any:
    """Parameters whose image positions are those of `model.image.size`."""
    image = model.image
    name = "image_resnet/attnpool/positions" if image.stages else "image_input/positions"
    grid = image.size // (REDUCTION if image.stages else image.patch_size)
    first = 1 if image.stages or image.pooling == "class_token" else 0
    flat = flatten_dict(params, sep="/")
    return unflatten_dict(flat | {name: resampled(flat[name], grid, first)}, sep="/")


def resampled(positions: Float[Array, "L W"], grid: int, first: int) -> Float[Array, "M W"]:
    """The square of positions after the `first` ones at another side, bicubic as in open_clip."""
    own, square = positions[:first], positions[first:]
    side = math.isqrt(len(square))
    if side == grid:
        return positions
    shape = (grid, grid, square.shape[1])
    resized = jax.image.resize(square.reshape(side, side, -1), shape, "cubic")
    return jnp.concatenate([own, resized.reshape(grid * grid, -1)])
