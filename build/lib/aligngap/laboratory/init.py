"""Initialisation against optimisation (Liang et al. 2022): which of them makes the gap?

From scratch, and with the second side turned onto the first at the start by a fixed orthogonal
matrix (Procrustes): the gap of the start is gone, and what training opens is left.
Their gaps at batch 64 and τ = 1/100: 1.189 → 1.299 as initialised, .039 → .746 when turned.
"""

import argparse

from aligngap import progress
from aligngap.laboratory.shared import small_clip, sweep, two_sides
from aligngap.laboratory.shared.result import Result
from aligngap.laboratory.shared.two_sides import Curve, Recipe

AS_IT_IS, TURNED = 0.0, 1.0


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Sizes of both trainings; the paper's: batch 64, scale 100."""
    sweep.add_flags(parser, steps=1000)


def run(arguments: argparse.Namespace) -> Result:
    """Trains from either start."""
    sweep.check_sizes(arguments)
    pairs = small_clip.load(arguments)

    def one(amended: float, seed: int, recipe: Recipe, bar: progress.Bar) -> Curve:
        sides, params = small_clip.make(pairs, arguments.dimension, seed)
        turn = two_sides.procrustes(sides, params) if amended else None
        return two_sides.train(sides, params, recipe, bar, turn)[0]

    trainings = sweep.over([AS_IT_IS, TURNED], arguments, one)
    figure = sweep.draw(trainings, "", "start", words=("as initialised", "Procrustes"))
    return sweep.result("init", arguments, trainings, "procrustes", figure)
