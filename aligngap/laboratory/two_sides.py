"""Training two sides against each other on pairs that do not change, and watching the gap."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from scipy.linalg import orthogonal_procrustes

from aligngap import gap, objectives, progress

Encode = Callable[[Any, Array], Array]
Clouds = tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "N D"]]
POINTS = 25  # Of a curve.


@dataclass(frozen=True)
class Sides:
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


def procrustes(sides: Sides, params: Any) -> Float[np.ndarray, "D D"]:
    """The orthogonal matrix that turns the second side onto the first."""
    first, second = embed(sides, params)
    return orthogonal_procrustes(second, first)[0].astype(np.float32)


def embed(sides: Sides, params: Any) -> Clouds:
    """All embeddings of both sides."""
    first, second = (
        np.asarray(jax.jit(encode)(params, inputs))
        for encode, inputs in zip(sides.encode, sides.inputs, strict=True)
    )
    return first, second


def train(
    sides: Sides,
    params: Any,
    recipe: Recipe,
    bar: progress.Bar,
    turn: Float[np.ndarray, "D D"] | None = None,
) -> tuple[Curve, Clouds]:
    """(the curve, the clouds at the end); `turn` is applied to the second side throughout."""
    warmup = recipe.steps // 10
    tx = optax.adam(optax.warmup_cosine_decay_schedule(0.0, recipe.rate, warmup, recipe.steps))
    key, count = jax.random.key(recipe.seed), len(sides.inputs[0])

    def turned(clouds: Any) -> Any:
        return clouds if turn is None else (clouds[0], clouds[1] @ turn)

    def loss(params: Any, rows: Array) -> Array:
        pairs = zip(sides.encode, sides.inputs, strict=True)
        first, second = turned(tuple(encode(params, inputs[rows]) for encode, inputs in pairs))
        return objectives.contrastive_loss(first, second, jnp.float32(recipe.scale))

    def step(state: Any, number: Array) -> tuple[Any, Array]:
        params, opt_state = state
        rows = batch_rows(key, number, count, recipe.batch)
        value, gradients = jax.value_and_grad(loss)(params, rows)
        updates, opt_state = tx.update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), value

    advance = jax.jit(lambda state, numbers: jax.lax.scan(step, state, numbers))
    state, every = (params, tx.init(params)), max(recipe.steps // POINTS, 1)
    at, losses = [0], [float(loss(params, jnp.arange(recipe.batch)))]
    clouds = [turned(embed(sides, params))]
    for start in range(0, recipe.steps, every):
        numbers = jnp.arange(start, min(start + every, recipe.steps))
        state, values = advance(state, numbers)
        at.append(start + len(numbers))
        losses.append(float(values.mean()))
        clouds.append(turned(embed(sides, state[0])))
        bar.note(f"loss {losses[-1]:.3f}")
        bar.advance(len(numbers))
    distances = [float(gap.centroid_distance(*pair)) for pair in clouds]
    before, after = (float(gap.linear_separability(*clouds[i])) for i in (0, -1))
    return Curve(at, losses, distances, (before, after)), clouds[-1]


def batch_rows(key: Array, number: Array, count: int, batch: int) -> Array:
    """The pairs of a step: each epoch in an order of its own, its incomplete batch left out."""
    steps = count // batch
    order = jax.random.permutation(jax.random.fold_in(key, number // steps), count)
    return jax.lax.dynamic_slice_in_dim(order, (number % steps) * batch, batch)
