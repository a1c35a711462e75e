"""Initialisation against optimisation (Liang et al. 2022): which of them makes the gap?

From scratch, and with the second side turned onto the first at the start by a fixed orthogonal
matrix (Procrustes): the gap of the start is gone, and what training opens is left.
"""

import argparse

from aligngap import progress
from aligngap.laboratory import small_clip, two_sides
from aligngap.laboratory.experiment import Result
from aligngap.laboratory.two_sides import Curve, Recipe

AS_IT_IS, TURNED = 0.0, 1.0


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Sizes of both trainings; the paper's: batch 64, scale 100."""
    small_clip.add_flags(parser, steps=1000)


def run(arguments: argparse.Namespace) -> Result:
    """Trains from either start."""
    pairs = small_clip.load(arguments)

    def one(amended: float, seed: int, recipe: Recipe, bar: progress.Bar) -> Curve:
        sides, params = small_clip.make(pairs, arguments.dimension, seed)
        turn = two_sides.procrustes(sides, params) if amended else None
        return two_sides.train(sides, params, recipe, bar, turn)[0]

    trainings = small_clip.sweep([AS_IT_IS, TURNED], arguments, one)
    figure = small_clip.draw(trainings, "", "start", words=("as initialised", "Procrustes"))
    return small_clip.result("init", arguments, trainings, "procrustes", figure)
