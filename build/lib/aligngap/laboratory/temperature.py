"""The gap against a fixed temperature, training on from a checkpoint (Liang et al. 2022, §4).

Their gaps after fine-tuning at τ = 1, 1/10, 1/20, 1/30, 1/50, 1/100: .238 to 1.001, rising.
"""

import argparse
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from aligngap import progress
from aligngap.data import corpora
from aligngap.errors import UsageError
from aligngap.interop import opening
from aligngap.laboratory.shared import corpus, sweep, two_sides
from aligngap.laboratory.shared.result import Result
from aligngap.laboratory.shared.two_sides import Curve, Recipe, TwoSides
from aligngap.models import towers


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The checkpoint, the temperatures, and the sizes of every training."""
    scales = [1.0, 10.0, 20.0, 30.0, 50.0, 100.0]
    parser.add_argument("--workdir", required=True, help="the run whose newest checkpoint it is")
    parser.add_argument("--scales", type=float, nargs="+", default=scales, help="s = 1/τ, fixed")
    parser.add_argument("--rate", type=float, default=3e-4, help="peak learning rate")
    sweep.add_size_flags(parser, pairs=1024, steps=100)


def run(arguments: argparse.Namespace) -> Result:
    """Trains on at each temperature."""
    sweep.check_sizes(arguments)
    if min(arguments.scales) <= 0 or arguments.rate <= 0:
        raise UsageError("--scales and --rate must be above 0")
    sides, params = from_checkpoint(arguments)

    def one(scale: float, _: int, recipe: Recipe, bar: progress.Bar) -> Curve:
        recipe = recipe._replace(scale=scale, rate=arguments.rate)
        return two_sides.train(sides, params, recipe, bar)[0]

    trainings = sweep.over(arguments.scales, arguments, one)
    figure = sweep.draw(trainings, "1/τ =", "scale s = 1/τ", logarithmic=True)
    return sweep.result("temperature", arguments, trainings, "scale", figure)


def from_checkpoint(arguments: argparse.Namespace) -> tuple[TwoSides, Any]:
    """(images against captions of the run's training split, its parameters)."""
    found = opening.load(Path(arguments.workdir))
    config, data = found.config, found.config.data
    data.data_dir = arguments.data_dir or data.data_dir
    source = corpora.open_train(config)
    pixels, captions = corpus.one_of_each(
        source, arguments.pairs, config.model.image.size, data.max_keywords, how=data.resize
    )
    normalised = towers.normalise(jnp.asarray(pixels), data.mean, data.std)
    ids = jnp.asarray(found.embedder.tokens(captions))
    return TwoSides(two_sides.encoders(found.module), (normalised, ids)), found.params
