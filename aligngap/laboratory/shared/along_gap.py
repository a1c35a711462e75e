"""The grid of shifts along the gap that `shift` and `bias` go through, and how it is drawn."""

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from aligngap import gap
from aligngap.errors import AligngapError, UsageError
from aligngap.gap.embedding_shift import MOVES
from aligngap.reporting.figures import PALETTE

MOST_POINTS = 10_000
SMALLEST_GAP = 1e-6  # below it the gap vector is rounding, and its direction means nothing


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What is moved, and how far."""
    parser.add_argument("--move", choices=MOVES, default="both", help="what is moved (both)")
    parser.add_argument("--lowest", type=float, default=-1.0, help="lowest δ (-1)")
    parser.add_argument("--highest", type=float, default=2.0, help="highest δ (2)")
    parser.add_argument("--step", type=float, default=0.05, help="δ from point to point (0.05)")


def grid(arguments: argparse.Namespace) -> Float[np.ndarray, "P"]:
    """Multiples of --step, so that no shift at all is one of them."""
    low, high, step = arguments.lowest, arguments.highest, arguments.step
    # Of infinities and NaN one of the comparisons does not hold.
    if not (low < 0 < high and 0 < 4 * step <= high - low < MOST_POINTS * step):
        raise UsageError(
            f"--lowest={low:g} --highest={high:g} --step={step:g}: expected a lowest below 0, a "
            "highest above 0, and a step of at most a quarter of their distance that makes at most "
            f"{MOST_POINTS:,} points"
        )
    return np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step


def distance(image: Float[np.ndarray, "N D"], text: Float[np.ndarray, "M D"]) -> float:
    """The gap, or AligngapError where there is none to move along."""
    found = float(gap.centroid_distance(image, text))
    if found < SMALLEST_GAP:
        raise AligngapError(f"the gap is {found:.1e}: no direction to move the clouds along")
    return found


def curve(
    image: Float[np.ndarray, "N D"], text: Float[np.ndarray, "M D"], deltas: np.ndarray, move: str
) -> dict[str, Any]:
    """δ → signed gap, by both conventions at the λ where they are the same shift; the slope at
    δ = 0, and the δ at which the gap closes (None where the grid does not reach it).

    Liang et al. 2022, section 4.2: the paper moves images by −λΔ and texts by λΔ, Δ the gap vector;
    its code moves them by ∓½δu, u = Δ/‖Δ‖, and one side alone by δu.
    """
    vector = gap.gap_vector(image, text)
    lambdas = deltas / float(jnp.linalg.norm(vector)) / (2 if move == "both" else 1)
    signed = jax.jit(
        lambda amount, unit: gap.signed_gap(
            *gap.shift(image, text, amount, vector=vector, unit=unit, move=move), vector
        ),
        static_argnums=1,
    )
    gaps = np.array([float(signed(delta, True)) for delta in deltas])
    return {
        "delta": deltas.tolist(),
        "gap": gaps.tolist(),
        "lambda": lambdas.tolist(),
        "gap_by_lambda": [float(signed(each, False)) for each in lambdas],
        "slope": slope(image, text, move),
        "closes_at": _zero(deltas, gaps),
    }


def slope(image: Float[np.ndarray, "N D"], text: Float[np.ndarray, "M D"], move: str) -> float:
    """d gap / dδ at δ = 0, in [-1, 0].

    Normalising takes from each moved row what lies along the row itself: a side that moves by s·δ
    changes the gap by −s(1 − E(x·u)²)δ, s = ½ when both move, u the unit gap vector.
    """
    vector = np.asarray(gap.gap_vector(image, text), np.float64)
    unit = vector / np.linalg.norm(vector)
    left = [1 - float(np.mean((np.asarray(x, np.float64) @ unit) ** 2)) for x in (image, text)]
    return -{"both": sum(left) / 2, "image": left[0], "text": left[1]}[move]


def _zero(deltas: np.ndarray, gaps: np.ndarray) -> float | None:
    """Where the line through the points first falls through 0."""
    after = np.flatnonzero((gaps[:-1] > 0) & (gaps[1:] <= 0))
    if not after.size:
        return None
    a, b = after[0], after[0] + 1
    share = gaps[a] / (gaps[a] - gaps[b])
    return float(deltas[a] + share * (deltas[b] - deltas[a]))


def mark(axes: Axes, unshifted: float, label: str) -> None:
    """The gap as it was found, dashed, and the closed gap, thin."""
    axes.axvline(unshifted, color=PALETTE["ink"][0], lw=1, ls=(0, (3, 2)))
    axes.axvline(0, color=PALETTE["muted"][0], lw=0.7)
    for place, words in ((unshifted, "unshifted"), (0, "closed")):
        axes.annotate(words, (place, 0), (2, 3), rotation=90, fontsize=7, va="bottom",
                      color=PALETTE["muted"][0], textcoords="offset points",
                      xycoords=("data", "axes fraction"))  # fmt: skip
    axes.set_xlabel(label)
