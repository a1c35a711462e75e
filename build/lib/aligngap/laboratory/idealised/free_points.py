"""The idealised experiment without networks: pairs of free points on a sphere, moved by the loss.

Fahim et al. 2024, their code: 2,048 pairs in three dimensions, the sides drawn around opposite
poles, τ = .01, batch 128, SGD with a peak rate of .01, 100 steps of warm-up, cosine to 0.
"""

import io
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from aligngap import gap, objectives, progress
from aligngap.laboratory.shared.result import style
from aligngap.laboratory.shared.two_sides import batch_rows
from aligngap.reporting.figures import MODALITY_MARKERS, PALETTE
from aligngap.unit import unit_rows

BATCH, RATE, WARMUP, SCALE = 128, 0.01, 100, 100.0
SPREAD = 0.1  # Standard deviation about the poles (0, ±1, 0): variance .01.
FRAMES, SHOWN = 60, 400


class Flight(NamedTuple):
    """Where the points were: both sides at each of steps, and what the loss and the gap were."""

    steps: list[int]
    points: list[tuple[np.ndarray, np.ndarray]]
    loss: list[float]
    centroid_distance: list[float]


def fly(pairs: int, epochs: int, seed: int) -> Flight:
    """Moves `pairs` pairs of points for so many epochs."""
    sides = _start(pairs, seed)
    batch = min(BATCH, pairs)
    steps = epochs * (pairs // batch)
    rate = optax.warmup_cosine_decay_schedule(0.0, RATE, min(WARMUP, steps // 10), steps)
    tx, key = optax.sgd(rate), jax.random.key(seed)

    def step(state: tuple, number: Array) -> tuple[tuple, Array]:
        sides, opt_state = state
        rows = batch_rows(key, number, pairs, batch)
        value, gradient = jax.value_and_grad(_loss)(sides, rows)
        updates, opt_state = tx.update(gradient, opt_state)
        return (optax.apply_updates(sides, updates), opt_state), value

    advance = jax.jit(lambda state, numbers: jax.lax.scan(step, state, numbers))
    state, marks = (sides, tx.init(sides)), np.unique(np.linspace(0, steps, FRAMES).astype(int))
    points, losses = [_unit(sides)], [float(_loss(sides, jnp.arange(batch)))]
    with progress.Bar("Moving points", steps, "steps") as bar:
        for start, end in itertools.pairwise(marks):
            state, values = advance(state, jnp.arange(start, end))
            points.append(_unit(state[0]))
            losses.append(float(values.mean()))
            bar.advance(int(end - start))
    clouds = [(np.asarray(p[0]), np.asarray(p[1])) for p in points]
    return Flight(
        marks.tolist(), clouds, losses, [float(gap.centroid_distance(*c)) for c in clouds]
    )


def animate(flight: Flight) -> bytes:
    """A GIF of both sides on the sphere, with the loss and the gap of each frame."""
    with style():
        figure = Figure(figsize=(4.6, 4.6), dpi=90)
        canvas, axes = FigureCanvasAgg(figure), figure.add_subplot(projection="3d")
        axes.set(xlim=(-1, 1), ylim=(-1, 1), zlim=(-1, 1), xlabel="x", ylabel="y", zlabel="z")
        axes.set_box_aspect((1, 1, 1))
        sides = [
            axes.plot([], [], [], marker, ls="", ms=3, alpha=0.6, color=PALETTE[name][0])[0]
            for name, (marker, _) in MODALITY_MARKERS.items()
        ]
        frames = []
        for number, step in enumerate(flight.steps):
            for side, points in zip(sides, flight.points[number], strict=True):
                side.set_data_3d(*points[:SHOWN].T)
            loss, distance = flight.loss[number], flight.centroid_distance[number]
            axes.set_title(f"step {step:,}    loss {loss:.2f}    gap {distance:.2f}")
            canvas.draw()
            frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))
    drawn, (first, *rest) = io.BytesIO(), frames
    first.save(drawn, "GIF", save_all=True, append_images=rest, duration=120, loop=0)
    return drawn.getvalue()


def _start(pairs: int, seed: int) -> tuple[Array, Array]:
    """Both sides about opposite poles, in three dimensions."""
    random = np.random.default_rng(seed)
    poles = (0.0, 1.0, 0.0), (0.0, -1.0, 0.0)
    first, second = (random.normal(pole, SPREAD, (pairs, 3)) for pole in poles)
    return _unit((jnp.asarray(first, jnp.float32), jnp.asarray(second, jnp.float32)))


def _unit(sides: tuple[Array, Array]) -> tuple[Array, Array]:
    return unit_rows(sides[0], smallest=0.0), unit_rows(sides[1], smallest=0.0)


def _loss(sides: tuple[Array, Array], rows: Array) -> Float[Array, ""]:
    first, second = _unit((sides[0][rows], sides[1][rows]))
    return objectives.contrastive_loss(first, second, jnp.float32(SCALE))
