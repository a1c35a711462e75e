"""CLIP's ResNet as OpenAI and open_clip name it: our modules have their names."""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from aligngap.interop.mapping import Rule
from aligngap.models.resnet import REDUCTION, ResNet

PREFIX = "visual."
LAST = {  # The last word of a name; the others are the path.
    **{"kernel": "weight", "scale": "weight", "positions": "positional_embedding"},
    **{"mean": "running_mean", "var": "running_var"},
}
LAYOUTS = {
    1: "outputs -> outputs",
    2: "outputs inputs -> inputs outputs",
    4: "outputs inputs row column -> row column inputs outputs",
}
UNUSED = "num_batches_tracked"  # A counter beside the statistics.
HEAD_WIDTH = 64  # Of the pooling.


def rules(model: ConfigDict) -> list[Rule]:
    """One for each array, made of its path."""
    image = model.image
    side = jnp.zeros((1, image.size, image.size, 3))
    tower = ResNet(image.stages, image.width, image.heads, model.embed_dim)
    shapes = nn.unbox(jax.eval_shape(tower.init, jax.random.key(0), side))["params"]
    found = []
    for path, array in flatten_dict(shapes, sep="/").items():
        *names, last = path.split("/")
        layout = "length width -> length width" if last == "positions" else LAYOUTS[array.ndim]
        theirs = PREFIX + ".".join([*names, LAST.get(last, last)])
        found.append(Rule(f"image_resnet/{path}", theirs, layout, {}, {}))
    return found


def fields(width: int, stages: tuple[int, ...], size: int) -> dict[str, Any]:
    """Fields of config.model of such a tower."""
    return {
        "image.stages": tuple(stages),
        "image.width": width,
        "image.heads": width * REDUCTION // HEAD_WIDTH,
        "image.size": size,
        "image.patch_size": REDUCTION,
        "image.projection": "none",
    }


def from_shapes(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The same out of a state dict."""
    grid = math.isqrt(len(tensors[f"{PREFIX}attnpool.positional_embedding"]) - 1)
    stages = []
    for stage in range(1, 5):
        prefix = f"{PREFIX}layer{stage}."
        blocks = {name.removeprefix(prefix).split(".")[0] for name in tensors if prefix in name}
        stages.append(len(blocks))
    width = len(tensors[f"{PREFIX}bn3.weight"])
    return fields(width, tuple(stages), grid * REDUCTION)


def of(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether the image tower of a state dict is one."""
    return f"{PREFIX}layer1.0.conv1.weight" in tensors
