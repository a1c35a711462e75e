"""The gap against the size of the embedding (Fahim et al. 2024: more dimensions, larger gap)."""

import argparse

from aligngap.errors import UsageError
from aligngap.laboratory.shared import small_clip, sweep
from aligngap.laboratory.shared.result import Result


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Sizes to sweep, and those of every training."""
    sweep.add_flags(parser, steps=600)
    sizes = [8, 32, 128, 512]
    parser.add_argument("--dimensions", type=int, nargs="+", default=sizes, help="to sweep")


def run(arguments: argparse.Namespace) -> Result:
    """Trains from scratch at each size of the embedding."""
    if min(arguments.dimensions) < 2:
        raise UsageError(f"--dimensions: {min(arguments.dimensions)} must be at least 2")
    sweep.check_sizes(arguments)
    pairs = small_clip.load(arguments)
    trainings = sweep.over(
        arguments.dimensions,
        arguments,
        lambda value, _, recipe, bar: small_clip.train(pairs, int(value), recipe, bar),
    )
    figure = sweep.draw(trainings, "D", "dimension of the embedding", logarithmic=True)
    return sweep.result("dimension", arguments, trainings, "dimension", figure)
