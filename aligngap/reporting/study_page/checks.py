"""Published numbers that need no data of the papers: theirs beside what the laboratory finds."""

import argparse
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from aligngap import gap, progress
from aligngap.laboratory import sphere
from aligngap.laboratory.cone import random_mlps
from aligngap.laboratory.idealised import free_points
from aligngap.reporting.study_page import published

ROWS, WIDTH = 64, 16  # Of the clouds that have a gap and nothing else.
REPEATS = 3  # Random MLPs of each kind; theirs are 10.
PAIRS, EPOCHS = 2048, 300  # Free points; theirs fly for 10,000 epochs.


class Check(NamedTuple):
    """A row of the page's table: what, the paper's number, ours. "" where a paper has none."""

    what: str
    theirs: str
    ours: str


def check() -> list[Check]:
    """All of them, which takes less than a minute; the same each time."""
    parts = (shifted, cones, spheres, flown)
    found = progress.track(parts, "Checking published numbers", len(parts), "experiments")
    return [row for part in found for row in part()]


def shifted() -> Iterator[Check]:
    """δ → gap follows from normalising alone: clouds whose rows all have one height along the gap,
    images at h, texts at h − gap, and are spread evenly about it. h is taken from one of the
    published rows, images alone at δ = −1; the others are predicted."""
    height = _height()
    image, text = _clouds(height)
    lowest = min(published.SHIFTED["image"])
    for move, rows in published.SHIFTED.items():
        for (delta, theirs), ours in zip(rows.items(), gaps(image, text, rows, move), strict=True):
            what = f"gap after a shift by δ = {delta:g}, {move} moved".replace("-", "−")
            used = f" (taken: h = {height:.2f})" if (move, delta) == ("image", lowest) else ""
            yield Check(what, f"{theirs:.3f}", f"{ours:.3f}{used}")


def gaps(
    image: Float[np.ndarray, "N D"],
    text: Float[np.ndarray, "N D"],
    deltas: Iterable[float],
    move: str,
) -> list[float]:
    """The signed gap after each shift, by the authors' convention."""
    vector = gap.gap_vector(image, text)
    shifted = (gap.shift(image, text, delta, vector=vector, move=move) for delta in deltas)
    return [float(gap.signed_gap(*clouds, vector)) for clouds in shifted]


def _height() -> float:
    """Moved by δ alone, images stand at (h − δ) / √(1 − 2hδ + δ²), and texts stay at h − gap."""
    delta, wanted = min(published.SHIFTED["image"].items())

    def off(h: float) -> float:
        moved = (h - delta) / np.sqrt(1 - 2 * h * delta + delta**2)
        return float(moved - (h - published.UNSHIFTED) - wanted)

    return float(brentq(off, 0.05, published.UNSHIFTED / 2))


def _clouds(height: float) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "N D"]]:
    """Unit rows, images at that height along the first axis, texts lower by the gap. Off it, each
    direction stands beside its opposite, so that means have no other part."""
    off = np.random.default_rng(0).normal(size=(2, ROWS // 2, WIDTH - 1))
    off /= np.linalg.norm(off, axis=-1, keepdims=True)
    heights = (height, height - published.UNSHIFTED)
    image, text = (
        np.concatenate(
            [
                np.full((ROWS, 1), h),
                np.sqrt(1 - h**2) * np.concatenate([rows, -rows]),
            ],
            axis=1,
        ).astype(np.float32)
        for h, rows in zip(heights, off, strict=True)
    )
    return image, text


def cones() -> Iterator[Check]:
    """Random MLPs at the paper's size."""
    settings = _defaults(random_mlps)
    settings.seed, settings.repeats = 0, REPEATS
    for name, layer, theirs in (
        ("sigmoid", 2, f"{published.SIGMOID_COSINE:.2f}"),
        ("linear", settings.layers, "almost none"),
    ):
        settings.layers = layer
        means = random_mlps.through_layers(name, settings).cosines.mean(axis=0)
        what = f"mean cosine after layer {layer} of a random MLP, {name}"
        yield Check(what, theirs, f"{means[layer]:.3f} (inputs: {means[0]:.3f})")


def spheres() -> Iterator[Check]:
    """Six pairs on a sphere, at the paper's scales."""
    found = sphere.run(_defaults(sphere)).found
    theirs = {"matched": "never", "mismatched": "yes, from some scale on"}
    for case, landscapes in found["cases"].items():
        scales = [f"{x['scale']:g}" for x in landscapes if x["two_sided_repulsion"]]
        onset = f"; from scale {found['onset_scale']:.1f} on" if scales else ""
        ours = f"at scales {', '.join(scales)}{onset}" if scales else "at no scale"
        yield Check(f"captions are pushed off the equator, {case} pairs", theirs[case], ours)


def flown() -> Iterator[Check]:
    """Free points in three dimensions about opposite poles."""
    flight = free_points.fly(PAIRS, EPOCHS, seed=0)
    before, after = (flight.centroid_distance[i] for i in (0, -1))
    first, last = (flight.loss[i] for i in (0, -1))
    what = f"free points, {PAIRS:,} pairs, {EPOCHS} epochs: gap; loss"
    yield Check(what, "", f"{before:.2f} → {after:.2f}; {first:.2f} → {last:.2f}")


def _defaults(room: object) -> argparse.Namespace:
    """The settings of an experiment without flags: the paper's, where it can."""
    parser = argparse.ArgumentParser()
    room.add_flags(parser)  # type: ignore[attr-defined]
    return parser.parse_args([])
