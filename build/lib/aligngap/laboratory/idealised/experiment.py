"""The gap that the contrastive loss opens by itself (Fahim et al. 2024, the idealised experiment).

Two image encoders of different initialisation see the same images as pairs, so that nothing but
the loss tells the sides apart. A fixed orthogonal matrix aligns the second to the first at the
start (Procrustes). Trained until the loss is near 0, the centroids have moved apart. Swept over
batch size and embedding dimension.
"""

import argparse

from aligngap import progress
from aligngap.errors import UsageError
from aligngap.laboratory.idealised import free_points
from aligngap.laboratory.idealised.figure import draw, summary
from aligngap.laboratory.idealised.training import SCALE, Setting, train
from aligngap.laboratory.shared import corpus
from aligngap.laboratory.shared.result import Result
from aligngap.laboratory.shared.small_clip import SHAPE, SIZE


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Sizes; the paper's: 2,048 images, batch 64, dimension 512, 1,200 epochs, one seed."""
    parser.add_argument("--images", type=int, default=2048, help="pairs of identical images")
    parser.add_argument("--steps", type=int, default=1000, help="optimiser steps of each training")
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256], help="batch sizes")
    parser.add_argument("--dimension", type=int, nargs="+", default=[32, 512], help="embedding")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each setting")
    parser.add_argument("--epochs", type=int, default=300, help="of the free points")
    corpus.add_flags(parser)


def run(arguments: argparse.Namespace) -> Result:
    """Trains each setting with each seed."""
    sizes = [arguments.images, arguments.steps, arguments.seeds, arguments.epochs]
    if min(*sizes, *arguments.batch) < 1 or min(arguments.dimension) < 2:
        raise UsageError(
            "idealised: images, steps, batch, seeds and epochs are ≥ 1, dimension is ≥ 2"
        )
    if max(arguments.batch) > arguments.images:
        raise UsageError(f"--batch={max(arguments.batch)} is more than --images={arguments.images}")
    pixels = corpus.pixels(arguments.images, SIZE, arguments.data_dir)
    settings = [
        Setting(batch, dimension, seed)
        for batch in arguments.batch
        for dimension in arguments.dimension
        for seed in range(arguments.seeds)
    ]
    total = len(settings) * arguments.steps
    with progress.Bar("Training pairs of image encoders", total, "steps") as bar:
        curves = [train(pixels, setting, arguments.steps, bar) for setting in settings]
    flight = free_points.fly(arguments.images, arguments.epochs, seed=0)
    return Result(
        name="idealised",
        settings={**vars(arguments), "scale": SCALE, "encoder": SHAPE},
        found={
            "trainings": [
                {**setting._asdict(), **curve._asdict()}
                for setting, curve in zip(settings, curves, strict=True)
            ],
            "free_points": {k: v for k, v in flight._asdict().items() if k != "points"},
        },
        figure=draw(settings, curves),
        summary=summary(settings, curves, flight),
        files={"idealised_points.gif": free_points.animate(flight)},
    )
