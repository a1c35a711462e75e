"""The gap against the share of mismatched pairs (Fahim et al. 2024 rule them out as its cause).

Captions of a share of the pairs are shuffled among each other, and training goes on until the loss
is near 0: whatever gap is left without a mismatch is due neither to mismatched pairs nor to too
little training.
"""

import argparse

import numpy as np

from aligngap.errors import UsageError
from aligngap.laboratory.shared import small_clip, sweep
from aligngap.laboratory.shared.corpus import CaptionedImages
from aligngap.laboratory.shared.result import Result


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Shares to sweep, and the sizes of every training."""
    sweep.add_flags(parser, steps=800)
    shares = [0.0, 0.1, 0.3, 1.0]
    parser.add_argument("--shares", type=float, nargs="+", default=shares, help="mismatched")


def run(arguments: argparse.Namespace) -> Result:
    """Trains from scratch at each share."""
    if not all(0 <= share <= 1 for share in arguments.shares):
        raise UsageError(f"--shares={arguments.shares}: each is in [0, 1]")
    sweep.check_sizes(arguments)
    pairs = small_clip.load(arguments)
    trainings = sweep.over(
        arguments.shares,
        arguments,
        lambda share, seed, recipe, bar: small_clip.train(
            mismatched(pairs, share, seed), arguments.dimension, recipe, bar
        ),
    )
    figure = sweep.draw(trainings, "share", "share of mismatched pairs")
    return sweep.result("mismatch", arguments, trainings, "share", figure)


def mismatched(pairs: CaptionedImages, share: float, seed: int) -> CaptionedImages:
    """The pairs with the captions of a share of them moved round one place among that share."""
    count = round(share * len(pairs.ids))
    chosen = np.random.default_rng(seed).permutation(len(pairs.ids))[:count]
    ids = pairs.ids.copy()
    ids[chosen] = pairs.ids[np.roll(chosen, 1)]
    return pairs._replace(ids=ids)
