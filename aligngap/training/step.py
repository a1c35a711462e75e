"""One optimiser step, a pure function of state and batch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aligngap import objectives
from aligngap.data import images
from aligngap.models.dual_encoder import DualEncoder
from aligngap.training.optimizer import schedule
from aligngap.training.state import TrainState

Batch = dict[str, Array]
Metrics = dict[str, Float[Array, ""]]
Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def make_loss(config: ConfigDict, model: DualEncoder) -> Callable[[Any, Batch], Any]:
    """(params, batch) → (loss, metrics)."""
    objective = objectives.total(config)

    def loss(params: Any, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        pixels = images.normalise(batch["image"], config.data.mean, config.data.std)
        image, text, scale = model.apply({"params": params}, pixels, batch["text"])
        value, terms = objective(image, text, scale, None, batch["semantics"], batch["group"])
        return value, {"loss": value, **terms, "scale": scale}

    return loss


def make_step(config: ConfigDict, model: DualEncoder, tx: optax.GradientTransformation) -> Step:
    """(state, batch) → (state, metrics of the state before the step)."""
    loss, learning_rate = make_loss(config, model), schedule(config)
    scale_max, decay = config.model.scale_max, config.optimizer.ema_decay

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        (_, metrics), gradients = jax.value_and_grad(loss, has_aux=True)(state.params, batch)
        updates, opt_state = tx.update(gradients, state.opt_state, state.params)
        params = clamp_scale(optax.apply_updates(state.params, updates), scale_max)
        averaged = None
        if state.averaged is not None:
            averaged = optax.incremental_update(params, state.averaged, 1.0 - decay)
        metrics["gradient_norm"] = optax.tree.norm(gradients)
        metrics["update_norm"] = optax.tree.norm(updates)
        metrics["learning_rate"] = jnp.asarray(learning_rate(state.step))
        return TrainState(state.step + 1, params, opt_state, averaged), metrics

    return step


def clamp_scale(params: Any, scale_max: float) -> Any:
    """The logit scale s back into [1, scale_max], as CLIP does after every step."""
    clamped = jnp.clip(params["logit_scale"], 0.0, jnp.log(scale_max))
    return {**params, "logit_scale": clamped}
