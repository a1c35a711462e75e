"""One setting swept over values and seeds: its flags, its trainings, its table and its picture."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aligngap import progress
from aligngap.errors import UsageError
from aligngap.laboratory.shared import corpus
from aligngap.laboratory.shared.result import Result, style
from aligngap.laboratory.shared.two_sides import Curve, Recipe
from aligngap.reporting.figures import PALETTE, log_heights, run_colour


class Training(NamedTuple):
    """One training of a sweep: the value that is swept, the seed, and what came of it."""

    value: float
    seed: int
    curve: Curve


def add_flags(parser: argparse.ArgumentParser, steps: int) -> None:
    """Sizes of every training from scratch."""
    add_size_flags(parser, pairs=1024, steps=steps)
    parser.add_argument("--dimension", type=int, default=128, help="of the embedding")
    parser.add_argument("--scale", type=float, default=100.0, help="s = 1/τ, fixed")


def add_size_flags(parser: argparse.ArgumentParser, pairs: int, steps: int) -> None:
    """Sizes of any training."""
    parser.add_argument("--pairs", type=int, default=pairs, help="images with their captions")
    parser.add_argument("--steps", type=int, default=steps, help="optimiser steps of each training")
    parser.add_argument("--batch", type=int, default=64, help="pairs a step")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each setting")
    corpus.add_flags(parser)


def check_sizes(arguments: argparse.Namespace) -> None:
    """UsageError for a size that cannot be."""
    for name in ("pairs", "steps", "batch", "seeds", "dimension", "scale"):
        if getattr(arguments, name, 1) < 1:
            raise UsageError(f"--{name}={getattr(arguments, name)} must be at least 1")
    if arguments.batch > arguments.pairs:
        raise UsageError(f"--batch={arguments.batch} is more than --pairs={arguments.pairs}")


def over(
    values: Sequence[float],
    arguments: argparse.Namespace,
    one: Callable[[float, int, Recipe, progress.Bar], Curve],
) -> list[Training]:
    """`one`(value, seed, recipe, bar) for each value and seed, with one bar for all of them."""
    total = len(values) * arguments.seeds * arguments.steps
    trainings = []
    with progress.Bar("Training", total, "steps") as bar:
        for value in values:
            for seed in range(arguments.seeds):
                scale = getattr(arguments, "scale", 1.0)  # One may be what is swept.
                recipe = Recipe(arguments.steps, arguments.batch, scale, seed)
                trainings.append(Training(value, seed, one(value, seed, recipe, bar)))
    return trainings


def result(
    name: str,
    arguments: argparse.Namespace,
    trainings: Sequence[Training],
    swept: str,
    figure: Figure,
) -> Result:
    """What the experiment `name` leaves; `swept` is what its values are called."""
    found = [{swept: t.value, "seed": t.seed, **t.curve._asdict()} for t in trainings]
    return Result(name, vars(arguments), {"trainings": found}, figure, lines(trainings, swept))


def by_value(trainings: Sequence[Training]) -> Mapping[float, list[Curve]]:
    """The curves of each value, one a seed, in the order in which they were trained."""
    groups: dict[float, list[Curve]] = {}
    for training in trainings:
        groups.setdefault(training.value, []).append(training.curve)
    return groups


def lines(trainings: Sequence[Training], name: str) -> str:
    """A table: the gap at the start and the end of each value, and the range over seeds."""
    rows = [
        f"{name:<14} {'gap before':>10} {'after':>8} {'range':>17} {'separability':>13} {'loss':>8}"
    ]
    for value, curves in by_value(trainings).items():
        starts, ends = (np.array([c.centroid_distance[i] for c in curves]) for i in (0, -1))
        separable = np.mean([c.separability[1] for c in curves])
        loss = np.mean([c.loss[-1] for c in curves])
        rows.append(
            f"{value:<14g} {starts.mean():>10.3f} {ends.mean():>8.3f} "
            f"[{ends.min():.3f}, {ends.max():.3f}]".ljust(53)
            + f"{separable:>11.2f} {loss:>8.4f}"
        )
    seeds = len(next(iter(by_value(trainings).values())))
    return "\n".join([*rows, f"Seeds: {seeds}; each number is their mean."])


def draw_curves(losses: Axes, distances: Axes, groups: Mapping[str, Sequence[Curve]]) -> None:
    """Loss and gap against steps: for each name the mean over its seeds, and their range."""
    for number, (name, curves) in enumerate(groups.items()):
        colour, steps = run_colour(number), curves[0].steps
        for axes, field in ((losses, "loss"), (distances, "centroid_distance")):
            heights = np.array([getattr(curve, field) for curve in curves])
            axes.plot(steps, heights.mean(0), color=colour, label=name)
            axes.fill_between(steps, heights.min(0), heights.max(0), color=colour, alpha=0.2, lw=0)
    losses.set(xlabel="step", ylabel="contrastive loss (nats, log scale)")
    log_heights(losses)
    distances.set(xlabel="step", ylabel="distance between centroids", ylim=(0, None))
    distances.legend(frameon=False)


def draw(
    trainings: Sequence[Training],
    name: str,
    label: str,
    *,
    logarithmic: bool = False,
    words: Sequence[str] = (),
) -> Figure:
    """Loss and gap against steps, a line a value, and the gap at the end against the value.

    `words` name values that are no quantities, which no line joins then.
    """
    groups = by_value(trainings)
    shown = list(words) or [f"{name} {value:g}" for value in groups]
    with style():
        figure = Figure(figsize=(11.4, 3.2), layout="constrained")
        losses, along, end = figure.subplots(1, 3)
        draw_curves(losses, along, dict(zip(shown, groups.values(), strict=True)))
        _draw_ends(end, groups, label, logarithmic, words)
    return figure


def _draw_ends(
    axes: Axes,
    groups: Mapping[float, Sequence[Curve]],
    label: str,
    logarithmic: bool,
    words: Sequence[str],
) -> None:
    """The gap at the start, and at the end with its range over seeds, against the value."""
    ends = np.array([[c.centroid_distance[-1] for c in curves] for curves in groups.values()])
    starts = [np.mean([c.centroid_distance[0] for c in curves]) for curves in groups.values()]
    mean = ends.mean(1)
    spread = np.stack([mean - ends.min(1), ends.max(1) - mean])
    ink, muted = PALETTE["ink"][0], PALETTE["muted"][0]
    joined = ("s", "o") if words else ("s--", "o-")
    axes.plot(list(groups), starts, joined[0], color=muted, label="before training")
    axes.errorbar(
        list(groups),
        mean,
        spread,
        fmt=joined[1],
        color=ink,
        capsize=3,
        label="after (range over seeds)",
    )
    axes.set(xlabel=label, ylabel="distance between centroids", ylim=(0, None))
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xticks(list(groups), [f"{value:g}" for value in groups])
        axes.set_xticks([], minor=True)
    if words:
        axes.set_xticks(list(groups), words)
        axes.margins(x=0.3)
    axes.legend(frameon=False)
