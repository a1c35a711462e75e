"""The gap against a fixed temperature, training on from a checkpoint (Liang et al. 2022, §4).

Their gaps after fine-tuning at τ = 1, 1/10, 1/20, 1/30, 1/50, 1/100: .238 to 1.001, rising.
"""

import argparse
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from aligngap import progress
from aligngap.data import images
from aligngap.errors import UsageError
from aligngap.evaluation import run as runs
from aligngap.laboratory import pictograms, small_clip, two_sides
from aligngap.laboratory.experiment import Result
from aligngap.laboratory.two_sides import Curve, Recipe, Sides
from aligngap.training import loop


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The checkpoint, the temperatures, and the sizes of every training."""
    scales = [1.0, 10.0, 20.0, 30.0, 50.0, 100.0]
    parser.add_argument("--workdir", required=True, help="the run whose newest checkpoint it is")
    parser.add_argument("--scales", type=float, nargs="+", default=scales, help="s = 1/τ, fixed")
    parser.add_argument("--rate", type=float, default=3e-4, help="peak learning rate")
    small_clip.add_size_flags(parser, pairs=1024, steps=100)


def run(arguments: argparse.Namespace) -> Result:
    """Trains on at each temperature."""
    small_clip.check_sizes(arguments)
    if min(arguments.scales) <= 0 or arguments.rate <= 0:
        raise UsageError("--scales and --rate must be above 0")
    sides, params = from_checkpoint(arguments)

    def one(scale: float, _: int, recipe: Recipe, bar: progress.Bar) -> Curve:
        recipe = recipe._replace(scale=scale, rate=arguments.rate)
        return two_sides.train(sides, params, recipe, bar)[0]

    trainings = small_clip.sweep(arguments.scales, arguments, one)
    return Result(
        "temperature",
        vars(arguments),
        small_clip.found(trainings, "scale"),
        small_clip.draw(trainings, "1/τ =", "scale s = 1/τ", logarithmic=True),
        small_clip.lines(trainings, "scale"),
    )


def from_checkpoint(arguments: argparse.Namespace) -> tuple[Sides, Any]:
    """(images against captions of the run's training split, its parameters)."""
    opened = loop.reopen(Path(arguments.workdir), arguments.data_dir)
    config, model = opened.config, opened.model
    params = runs.parameters(opened, None)[1]["trained"]
    size, length = config.model.image.size, config.model.text.context_length
    pixels, captions = pictograms.one_of_each(
        opened.source, arguments.pairs, size, config.data.max_keywords
    )
    inputs = (
        images.normalise(jnp.asarray(pixels), config.data.mean, config.data.std),
        jnp.asarray(opened.tokenizer.encode(captions, length)),
    )
    return Sides(
        (
            lambda p, x: model.apply({"params": p}, x, method="encode_image"),
            lambda p, x: model.apply({"params": p}, x, method="encode_text"),
        ),
        inputs,
    ), params
