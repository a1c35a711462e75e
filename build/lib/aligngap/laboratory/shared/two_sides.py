"""Training two sides against each other on pairs that do not change, and watching the gap."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from scipy.linalg import orthogonal_procrustes

from aligngap import gap, objectives, progress
from aligngap.models.dual_encoder import DualEncoder

Encode = Callable[[Any, Array], Array]
Clouds = tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "N D"]]
POINTS = 25  # Of a curve.


@dataclass(frozen=True)
class TwoSides:
    """Two encoders (parameters, inputs) → [B, D] and their inputs; row i of both is a pair."""

    encode: tuple[Encode, Encode]
    inputs: tuple[Array, Array]


class Recipe(NamedTuple):
    """Adam with warm-up and cosine to 0, and the contrastive loss at a fixed scale s = 1/τ."""

    steps: int
    batch: int
    scale: float
    seed: int
    rate: float = 1e-3


class Curve(NamedTuple):
    """At steps[i]: the loss (mean since the point before) and the distance between centroids."""

    steps: list[int]
    loss: list[float]
    centroid_distance: list[float]
    separability: tuple[float, float]  # At the start and at the end.


def encoders(model: DualEncoder) -> tuple[Encode, Encode]:
    """A model's images (normalised) against its captions' ids."""
    return (
        lambda p, x: model.apply({"params": p}, x, method="encode_image"),
        lambda p, x: model.apply({"params": p}, x, method="encode_text"),
    )


def procrustes(sides: TwoSides, params: Any) -> Float[np.ndarray, "D D"]:
    """The orthogonal matrix that turns the second side onto the first."""
    first, second = embed(sides, params)
    return orthogonal_procrustes(second, first)[0].astype(np.float32)


def embed(sides: TwoSides, params: Any) -> Clouds:
    """All embeddings of both sides."""
    first, second = (
        np.asarray(jax.jit(encode)(params, inputs))
        for encode, inputs in zip(sides.encode, sides.inputs, strict=True)
    )
    return first, second


def train(
    sides: TwoSides,
    params: Any,
    recipe: Recipe,
    bar: progress.Bar,
    turn: Float[np.ndarray, "D D"] | None = None,
) -> tuple[Curve, Clouds]:
    """(the curve, the clouds at the end); `turn` is applied to the second side throughout."""
    fixed = (sides.inputs, turn, jnp.float32(recipe.scale), jax.random.key(recipe.seed))
    form = (recipe.steps, recipe.batch, recipe.rate)
    state, every = (params, _adam(*form).init(params)), max(recipe.steps // POINTS, 1)
    at, losses = [0], [float(_loss(sides.encode, params, jnp.arange(recipe.batch), *fixed[:3]))]
    clouds = [_turned(embed(sides, params), turn)]
    for start in range(0, recipe.steps, every):
        numbers = jnp.arange(start, min(start + every, recipe.steps))
        state, values = _advance(sides.encode, form, state, numbers, *fixed)
        at.append(start + len(numbers))
        losses.append(float(values.mean()))
        clouds.append(_turned(embed(sides, state[0]), turn))
        bar.note(f"loss {losses[-1]:.3f}")
        bar.advance(len(numbers))
    distances = [float(gap.centroid_distance(*pair)) for pair in clouds]
    before, after = (float(gap.linear_separability(*clouds[i])) for i in (0, -1))
    return Curve(at, losses, distances, (before, after)), clouds[-1]


# Compiled once for all trainings of the same encoders and sizes: scale and seed are arguments.
@partial(jax.jit, static_argnums=(0, 1))
def _advance(
    encode: tuple[Encode, Encode],
    form: tuple[int, int, float],
    state: Any,
    numbers: Array,
    inputs: tuple[Array, Array],
    turn: Any,
    scale: Array,
    key: Array,
) -> tuple[Any, Array]:
    """(the state after these steps, the loss of each)."""

    def step(state: Any, number: Array) -> tuple[Any, Array]:
        params, opt_state = state
        rows = batch_rows(key, number, len(inputs[0]), form[1])
        value, gradients = jax.value_and_grad(
            lambda p: _loss(encode, p, rows, inputs, turn, scale)
        )(params)
        updates, opt_state = _adam(*form).update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), value

    return jax.lax.scan(step, state, numbers)


@partial(jax.jit, static_argnums=0)
def _loss(
    encode: tuple[Encode, Encode],
    params: Any,
    rows: Array,
    inputs: tuple[Array, Array],
    turn: Any,
    scale: Array,
) -> Array:
    first, second = (embedded(params, x[rows]) for embedded, x in zip(encode, inputs, strict=True))
    first, second = _turned((first, second), turn)
    return objectives.contrastive_loss(first, second, scale)


def _adam(steps: int, _: int, rate: float) -> optax.GradientTransformation:
    return optax.adam(optax.warmup_cosine_decay_schedule(0.0, rate, steps // 10, steps))


def _turned(clouds: Any, turn: Any) -> Any:
    return clouds if turn is None else (clouds[0], clouds[1] @ turn)


def batch_rows(key: Array, number: Array, count: int, batch: int) -> Array:
    """The pairs of a step: each epoch in an order of its own, its incomplete batch left out."""
    steps = count // batch
    order = jax.random.permutation(jax.random.fold_in(key, number // steps), count)
    return jax.lax.dynamic_slice_in_dim(order, (number % steps) * batch, batch)
