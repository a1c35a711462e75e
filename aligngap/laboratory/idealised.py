"""The gap that the contrastive loss opens by itself (Fahim et al. 2024, the idealised experiment).

Two image encoders of different initialisation see the same images as pairs, so that nothing but
the loss tells the sides apart. A fixed orthogonal matrix aligns the second to the first at the
start (Procrustes). Trained until the loss is near 0, the centroids have moved apart. Swept over
batch size and embedding dimension.
"""

import argparse
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from aligngap import progress
from aligngap.data import images
from aligngap.errors import UsageError
from aligngap.laboratory import experiment, pictograms, points, small_clip, two_sides
from aligngap.laboratory.experiment import Result
from aligngap.laboratory.small_clip import SHAPE, SIZE
from aligngap.laboratory.two_sides import Curve, Encode, Recipe, Sides
from aligngap.models import dual_encoder
from aligngap.reporting.figures import RUN_MARKERS, run_colour

SCALE = 100.0  # s = 1/τ of the protocol.


class Setting(NamedTuple):
    """One training."""

    batch: int
    dimension: int
    seed: int


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Sizes; the paper's: 2,048 images, batch 64, dimension 512, 1,200 epochs, one seed."""
    parser.add_argument("--images", type=int, default=2048, help="pairs of identical images")
    parser.add_argument("--steps", type=int, default=1000, help="optimiser steps of each training")
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256], help="batch sizes")
    parser.add_argument("--dimension", type=int, nargs="+", default=[32, 512], help="embedding")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each setting")
    parser.add_argument("--epochs", type=int, default=300, help="of the free points")
    pictograms.add_flags(parser)


def run(arguments: argparse.Namespace) -> Result:
    """Trains each setting with each seed."""
    sizes = [arguments.images, arguments.steps, arguments.seeds, arguments.epochs]
    if min(*sizes, *arguments.batch) < 1 or min(arguments.dimension) < 2:
        raise UsageError(
            "idealised: images, steps, batch, seeds and epochs are ≥ 1, dimension is ≥ 2"
        )
    if max(arguments.batch) > arguments.images:
        raise UsageError(f"--batch={max(arguments.batch)} is more than --images={arguments.images}")
    pixels = pictograms.pixels(arguments.images, SIZE, arguments.data_dir)
    settings = [
        Setting(batch, dimension, seed)
        for batch in arguments.batch
        for dimension in arguments.dimension
        for seed in range(arguments.seeds)
    ]
    total = len(settings) * arguments.steps
    with progress.Bar("Training pairs of image encoders", total, "steps") as bar:
        curves = [train(pixels, setting, arguments.steps, bar) for setting in settings]
    flight = points.fly(arguments.images, arguments.epochs, seed=0)
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
        summary="\n".join([*_lines(settings, curves), _flown(flight)]),
        files={"idealised_points.gif": points.animate(flight)},
    )


def train(
    pixels: UInt8[np.ndarray, "N R R 3"], setting: Setting, steps: int, bar: progress.Bar
) -> Curve:
    """One pair of encoders on the images as their own pairs, aligned at the start."""
    mean, std = pixels.mean((0, 1, 2)) / 255, pixels.std((0, 1, 2)) / 255
    inputs = images.normalise(jnp.asarray(pixels), tuple(mean), tuple(std))
    encode, initialise = _encoders(setting.dimension)
    # The two differ in the key alone.
    params = tuple(map(initialise, jax.random.split(jax.random.key(setting.seed))))
    sides = Sides(encode, (inputs, inputs))
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


def draw(settings: Sequence[Setting], curves: Sequence[Curve]) -> Figure:
    """Loss and gap against steps, and the gap at the end against batch size."""
    with experiment.style():
        figure = Figure(figsize=(10.5, 3.2), layout="constrained")
        loss, distance, final = figure.subplots(1, 3)
        small_clip.draw_curves(loss, distance, _groups(settings, curves))
        _draw_final(final, settings, curves)
    return figure


def _draw_final(axes: Axes, settings: Sequence[Setting], curves: Sequence[Curve]) -> None:
    for number, dimension in enumerate(sorted({s.dimension for s in settings})):
        ends: dict[int, list[float]] = {}
        for setting, curve in zip(settings, curves, strict=True):
            if setting.dimension == dimension:
                ends.setdefault(setting.batch, []).append(curve.centroid_distance[-1])
        batches = sorted(ends)
        means = [np.mean(ends[b]) for b in batches]
        spread = [
            [m - min(ends[b]) for m, b in zip(means, batches, strict=True)],
            [max(ends[b]) - m for m, b in zip(means, batches, strict=True)],
        ]
        marker = RUN_MARKERS[number % len(RUN_MARKERS)][0]
        colour = run_colour(number)
        axes.errorbar(
            batches, means, spread, marker=marker, color=colour, capsize=3, label=f"D {dimension}"
        )
    axes.set(xlabel="batch size", ylabel="distance at the end (range over seeds)", xscale="log")
    axes.set_xticks(sorted({s.batch for s in settings}), minor=False)
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_ylim(0, None)
    axes.legend(frameon=False)


def _groups(settings: Sequence[Setting], curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """The curves of each batch size and dimension, one a seed."""
    groups: dict[str, list[Curve]] = {}
    for setting, curve in zip(settings, curves, strict=True):
        groups.setdefault(f"batch {setting.batch}, D {setting.dimension}", []).append(curve)
    return groups


def _lines(settings: Sequence[Setting], curves: Sequence[Curve]) -> Iterator[str]:
    yield "setting                   gap before    after  separability    after     loss"
    for label, group in _groups(settings, curves).items():
        start, end = (np.mean([c.centroid_distance[i] for c in group]) for i in (0, -1))
        before, after = (np.mean([c.separability[i] for c in group]) for i in (0, 1))
        loss = np.mean([c.loss[-1] for c in group])
        yield f"{label:<24} {start:>11.3f} {end:>8.3f} {before:>13.2f} {after:>8.2f} {loss:>8.4f}"
    yield f"Means over seeds {sorted({setting.seed for setting in settings})}."


def _flown(flight: points.Flight) -> str:
    before, after = (flight.centroid_distance[i] for i in (0, -1))
    return (
        f"Free points in three dimensions, {flight.steps[-1]:,} steps: gap {before:.3f} before, "
        f"{after:.3f} after; loss {flight.loss[0]:.3f} before, {flight.loss[-1]:.3f} after."
    )
