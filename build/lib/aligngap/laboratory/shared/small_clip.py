"""A small two-tower model on a fixed set of images with captions: what the sweeps train."""

import argparse
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from aligngap import progress
from aligngap.config import default, tower
from aligngap.laboratory.shared import corpus, two_sides
from aligngap.laboratory.shared.corpus import CaptionedImages
from aligngap.laboratory.shared.two_sides import Curve, Encode, Recipe, TwoSides
from aligngap.models import dual_encoder

SIZE, PATCH, CONTEXT, SHAPE = 32, 16, 12, (64, 2, 2, 4.0)  # Pixels, tokens; width, layers, heads.


def load(arguments: argparse.Namespace) -> CaptionedImages:
    """The pairs that all trainings see."""
    return corpus.pairs(arguments.pairs, SIZE, CONTEXT, arguments.data_dir)


def config(dimension: int) -> ConfigDict:
    """What every small model is: the size of its embedding, and a small image tower."""
    made = default()
    made.model.embed_dim, made.model.scan = dimension, False
    made.model.image.update(tower(*SHAPE), size=SIZE, patch_size=PATCH)
    return made


def make(pairs: CaptionedImages, dimension: int, seed: int) -> tuple[TwoSides, Any]:
    """(images against captions, the parameters at the start)."""
    encode, initialise = _model(dimension, pairs.vocab_size)
    images, ids = jnp.asarray(pairs.images), jnp.asarray(pairs.ids)
    return TwoSides(encode, (images, ids)), initialise(jax.random.key(seed), images[:1], ids[:1])


@functools.cache  # Its functions are compiled once for all trainings of a size.
def _model(dimension: int, vocab_size: int) -> tuple[tuple[Encode, Encode], Callable[..., Any]]:
    """(the encoders, (key, an image, a caption's ids) → their parameters)."""
    small = config(dimension)
    small.model.text.update(tower(*SHAPE), context_length=CONTEXT, vocab_size=vocab_size)
    model = dual_encoder.make(small)
    initialise = jax.jit(lambda *given: nn.unbox(model.init(*given))["params"])
    return two_sides.encoders(model), initialise


def train(pairs: CaptionedImages, dimension: int, recipe: Recipe, bar: progress.Bar) -> Curve:
    """One training from scratch."""
    sides, params = make(pairs, dimension, recipe.seed)
    return two_sides.train(sides, params, recipe, bar)[0]
