"""Two image encoders that differ in their initialisation alone, trained on the same images."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8

from aligngap import progress
from aligngap.laboratory.shared import small_clip, two_sides
from aligngap.laboratory.shared.small_clip import SIZE
from aligngap.laboratory.shared.two_sides import Curve, Encode, Recipe, TwoSides
from aligngap.models import dual_encoder, towers

SCALE = 100.0  # s = 1/τ of the protocol.


class Setting(NamedTuple):
    """One training."""

    batch: int
    dimension: int
    seed: int


def train(
    pixels: UInt8[np.ndarray, "N R R 3"], setting: Setting, steps: int, bar: progress.Bar
) -> Curve:
    """One pair of encoders on the images as their own pairs, aligned at the start."""
    mean, std = pixels.mean((0, 1, 2)) / 255, pixels.std((0, 1, 2)) / 255
    inputs = towers.normalise(jnp.asarray(pixels), tuple(mean), tuple(std))
    encode, initialise = _encoders(setting.dimension)
    # The two differ in the key alone.
    params = tuple(map(initialise, jax.random.split(jax.random.key(setting.seed))))
    sides = TwoSides(encode, (inputs, inputs))
    recipe = Recipe(steps, setting.batch, SCALE, setting.seed)
    return two_sides.train(sides, params, recipe, bar, two_sides.procrustes(sides, params))[0]


@functools.cache  # Its functions are compiled once for all trainings of a size.
def _encoders(dimension: int) -> tuple[tuple[Encode, Encode], Callable[[Array], Any]]:
    """(an encoder of images for each side's parameters, key → the parameters of one side)."""
    model = dual_encoder.make(small_clip.config(dimension))

    def encode(params: Any, x: Array) -> Array:
        return model.apply({"params": params}, x, method="encode_image")

    def initialise(key: Array) -> Any:
        image = jnp.zeros((1, SIZE, SIZE, 3))
        return nn.unbox(model.init(key, image, method="encode_image"))["params"]

    both = (lambda p, x: encode(p[0], x), lambda p, x: encode(p[1], x))
    return both, jax.jit(initialise)
