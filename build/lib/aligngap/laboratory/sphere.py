"""Six pairs on a sphere: where the contrastive loss wants the captions (Liang et al. 2022, §4.2).

Images lie on the equator, `azimuth` degrees apart; captions lie at their image's azimuth, moved
together in polar angle by Δθ. In the mismatched case the first two captions have changed places.
Moving the captions multiplies every cosine by cos Δθ, so the loss at scale s and Δθ is that at
scale s·cos Δθ on the equator: above the scale that the mismatched pairs like best, the onset, they
are pushed off the equator on both sides, to cos Δθ = onset / s.
"""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import brentq
from scipy.signal import find_peaks

from aligngap import objectives
from aligngap.errors import UsageError
from aligngap.laboratory.shared.result import Result, style
from aligngap.reporting.figures import PALETTE, RUN_DASHES, run_colour, run_marker

PAIRS = 6
SCALES = (1.0, 5.0, 35.0, 50.0, 100.0)
LARGEST_SCALE = 1000  # Beyond it float32 no longer shows where the loss is least.
CASES = {"matched": "every caption at its image", "mismatched": "first two captions swapped"}
# Of the scale: float32 knows a loss to about 1e-7 of its logits. A barrier below the first is no
# valley's wall; all that lies less than the second above a valley's lowest point is its floor.
LEAST_BARRIER, FLOOR = 1e-6, 2e-7


class Minimum(NamedTuple):
    """A valley of the landscape: Δθ in degrees, and the loss there."""

    offset: float
    loss: float


class Landscape(NamedTuple):
    """The loss against Δθ for one scale and one case."""

    losses: Float[np.ndarray, "N"]
    minima: list[Minimum]

    def two_sided(self) -> bool:
        """Whether the captions are pushed off the equator, up and down."""
        offsets = [minimum.offset for minimum in self.minima]
        return bool(offsets) and min(offsets) < 0 < max(offsets)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Scales, and the angles of the toy."""
    parser.add_argument("--scales", nargs="+", type=float, default=list(SCALES), metavar="S")
    parser.add_argument(
        "--azimuth", type=float, default=15.0, help="degrees between images; their code: 20"
    )
    parser.add_argument("--step", type=float, default=0.5, help="degrees between values of Δθ")


def run(arguments: argparse.Namespace) -> Result:
    """The landscape for each scale, with and without mismatched pairs. Nothing in it is random."""
    _check(arguments)
    half = round(90 / arguments.step)
    offsets = np.linspace(-90.0, 90.0, 2 * half + 1)
    found = {
        case: {
            scale: landscape(arguments.azimuth, offsets, scale, case == "mismatched")
            for scale in arguments.scales
        }
        for case in CASES
    }
    onset = onset_scale(arguments.azimuth)
    settings = {
        "pairs": PAIRS,
        "azimuth_degrees": arguments.azimuth,
        "scales": arguments.scales,
        "step_degrees": 90 / half,
        "seeds": [],
    }
    results = {"offsets_degrees": offsets.tolist(), "onset_scale": onset, "cases": _plain(found)}
    return Result("sphere", settings, results, _figure(offsets, found), _summary(found, onset))


def points(
    azimuth: float, offset: Float[Array, ""] | float, mismatched: bool
) -> tuple[Float[Array, "6 3"], Float[Array, "6 3"]]:
    """Unit vectors of the images and of the captions; angles in degrees."""
    angles = jnp.radians(azimuth * jnp.arange(PAIRS))
    own = angles[jnp.array([1, 0, *range(2, PAIRS)])] if mismatched else angles
    return _on_sphere(angles, 0.0), _on_sphere(own, jnp.radians(offset))


def landscape(
    azimuth: float, offsets: Float[np.ndarray, "N"], scale: float, mismatched: bool
) -> Landscape:
    """The contrastive loss at each Δθ, and its minima."""
    losses = _losses(azimuth, jnp.asarray(offsets), jnp.float32(scale), mismatched)
    exact = np.asarray(losses, np.float64)
    return Landscape(exact, minima(offsets, exact, max(scale, 1.0)))


def minima(
    offsets: Float[np.ndarray, "N"], losses: Float[np.ndarray, "N"], size: float
) -> list[Minimum]:
    """The middle of each valley of a loss that was computed from numbers up to `size`."""
    bottoms, _ = find_peaks(-losses, prominence=LEAST_BARRIER * size)
    found = {}
    for bottom in bottoms:
        above = np.flatnonzero(losses > losses[bottom] + FLOOR * size)
        left, right = above[above < bottom].max() + 1, above[above > bottom].min() - 1
        middle = float(offsets[left] + offsets[right]) / 2
        found[middle] = Minimum(middle, float(losses[bottom]))
    return list(found.values())


def onset_scale(azimuth: float) -> float:
    """The scale at which the mismatched pairs' loss on the equator is least: above it, repulsion.

    There the slope changes its sign; it is found by the slope, since the loss itself is flat.
    """
    image, text = points(azimuth, 0.0, mismatched=True)
    slope = jax.jit(jax.grad(partial(objectives.contrastive_loss, image, text)))
    # In units of 1 / (1 - cosine of neighbours) it is near 1 for all azimuths.
    unit = 1 / (1 - np.cos(np.radians(azimuth)))
    return float(brentq(lambda scale: float(slope(jnp.float32(scale))), 0.01 * unit, 20 * unit))


@partial(jax.jit, static_argnames="mismatched")
def _losses(
    azimuth: float, offsets: Float[Array, "N"], scale: Float[Array, ""], mismatched: bool
) -> Float[Array, "N"]:
    def loss(offset: Array) -> Array:
        return objectives.contrastive_loss(*points(azimuth, offset, mismatched), scale)

    return jax.vmap(loss)(offsets)


def _on_sphere(azimuth: Float[Array, "6"], polar: Float[Array, ""] | float) -> Float[Array, "6 3"]:
    height = jnp.broadcast_to(jnp.sin(polar), azimuth.shape)
    flat = jnp.cos(polar) * jnp.stack([jnp.cos(azimuth), jnp.sin(azimuth)])
    return jnp.concatenate([flat, height[None]]).T


def _check(arguments: argparse.Namespace) -> None:
    for scale in arguments.scales:
        if not 0 < scale <= LARGEST_SCALE:
            raise UsageError(f"--scales: {scale:g} must be above 0 and at most {LARGEST_SCALE}")
    if not 5 <= arguments.azimuth <= 60:  # Closer than 5, float32 knows too little of 1 − cosine.
        raise UsageError(
            f"--azimuth={arguments.azimuth:g} must be in [5, 60] degrees: six pairs on a circle"
        )
    if not 0.01 <= arguments.step <= 10:
        raise UsageError(f"--step={arguments.step:g} must be in [0.01, 10] degrees")


def _plain(found: Mapping[str, Mapping[float, Landscape]]) -> dict[str, list[dict[str, object]]]:
    """What JSON holds: a list of landscapes a case."""
    return {
        case: [
            {
                "scale": scale,
                "losses": one.losses.tolist(),
                "minima": [minimum._asdict() for minimum in one.minima],
                "two_sided_repulsion": one.two_sided(),
            }
            for scale, one in landscapes.items()
        ]
        for case, landscapes in found.items()
    }


def _figure(
    offsets: Float[np.ndarray, "N"], found: Mapping[str, Mapping[float, Landscape]]
) -> Figure:
    with style():
        figure = Figure(figsize=(9.0, 3.9), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (case, landscapes) in zip(panels, found.items(), strict=True):
            for number, (scale, one) in enumerate(landscapes.items()):
                _line(axes, offsets, scale, one, number)
            axes.set_title(f"{case}: {CASES[case]}", fontsize=9, loc="left")
            axes.set(xlabel="polar offset of the captions Δθ (degrees)", xlim=(-90, 90))
            axes.set_xticks(range(-90, 91, 30))
        panels[0].set_ylabel("contrastive loss (nats)")
        panels[0].set_ylim(bottom=0)
        panels[1].tick_params(labelleft=True)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=len(labels), frameon=False,
            title="scale s = 1/τ; a marker at each minimum", title_fontsize=8.5,
        )  # fmt: skip
    return figure


def _line(
    axes: Axes, offsets: Float[np.ndarray, "N"], scale: float, one: Landscape, number: int
) -> None:
    colour, dashes = run_colour(number), RUN_DASHES[number % len(RUN_DASHES)]
    line: dict[str, Any] = {"color": colour, "linestyle": dashes, "linewidth": 1.5}
    marker: dict[str, Any] = {
        "marker": run_marker(number)[0], "markersize": 6.5, "zorder": 3,
        "markeredgecolor": PALETTE["ink"][0], "markeredgewidth": 0.7,
    }  # fmt: skip
    axes.plot(offsets, one.losses, **line)
    axes.plot(*zip(*one.minima, strict=True), **marker | {"color": colour, "linestyle": ""})
    axes.plot([], [], label=f"{scale:g}", **line | marker)  # The legend shows both.


def _summary(found: Mapping[str, Mapping[float, Landscape]], onset: float) -> str:
    lines = [f"{'case':<11} {'scale':>6}  minima: Δθ in degrees (loss in nats)"]
    for case, landscapes in found.items():
        lines += [f"{case:<11} {scale:>6g}  {_minima(one)}" for scale, one in landscapes.items()]
    lines.append(f"mismatched pairs push the captions off the equator above scale {onset:.1f}")
    return "\n".join(lines)


def _minima(one: Landscape) -> str:
    shown: Sequence[str] = [f"{place:+.1f} ({loss:.4f})" for place, loss in one.minima]
    return ", ".join(shown) + ("  two-sided repulsion" if one.two_sided() else "")
