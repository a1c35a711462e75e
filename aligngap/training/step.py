"""One optimiser step, a pure function of state and batch."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int
from jaxtyping import Key as KeyArray
from ml_collections import ConfigDict

from aligngap import objectives
from aligngap.data import packing
from aligngap.models import towers
from aligngap.models.dual_encoder import DualEncoder
from aligngap.models.logit_scale import parameter_of
from aligngap.objectives.objective import distils, reads_raw
from aligngap.objectives.swapping import swap
from aligngap.objectives.terms import Raw
from aligngap.training import microbatches, statistics
from aligngap.training.health import WATCHED
from aligngap.training.optimizer import locked, schedule
from aligngap.training.state import Taught, TrainState
from aligngap.unit import unit_rows

Batch = dict[str, Array]
Key = KeyArray[Array, ""]
Embeddings = tuple[Float[Array, "B D"], Float[Array, "B D"]]
Metrics = dict[str, Float[Array, ""]]
Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
Encode = Callable[[Any, Batch, Key | None], Embeddings]
TAUGHT = ("taught_image", "taught_text")  # What the teacher makes of a batch.


def make_encode(config: ConfigDict, model: DualEncoder) -> Encode:
    """(params, batch, key) → (image, text), each row a function of the key, its own example and its
    place in the batch, which a part of a batch gives as "row".

    Whatever is random in training, on the device (augmentation) or in a module (patch dropout),
    draws from the key, folded with the row's place: `self.make_rng("train")` in a module. So it is
    the same however the batch is split over devices and in parts. Without a key nothing is random.

    Rows are L2-normalised, unless a loss reads them as they are before.
    """
    unit = not reads_raw(config)

    def encode(params: Any, batch: Batch, key: Key | None) -> Embeddings:
        params = locked(config, params)
        pixels = towers.normalise(batch["image"], config.data.mean, config.data.std)
        given = (pixels, batch["text"], packing.of_batch(batch), batch.get("row"), unit)
        rngs = None if key is None else {"train": key}
        return model.apply({"params": params}, *given, method="encode", rngs=rngs)

    return encode


def make_taught(config: ConfigDict, model: DualEncoder) -> Callable[[TrainState, Batch], Batch]:
    """(state, batch) → the batch with what the teacher makes of it, where a loss reads that; in as
    many parts as the model itself sees."""
    encode = make_encode(config, model)

    def taught(state: TrainState, batch: Batch) -> Batch:
        if not isinstance(state, Taught):
            return batch
        teacher = state.teacher
        rows = microbatches.by_parts(
            lambda part: encode(teacher, part, None), batch, config.microbatches
        )
        return {**batch, **dict(zip(TAUGHT, rows, strict=True))}

    return taught


def key_of(config: ConfigDict, step: Int[Array, ""]) -> Key:
    """A step's randomness, a function of (seed, step)."""
    return jax.random.fold_in(jax.random.key(config.seed), step)


def make_loss(config: ConfigDict, model: DualEncoder) -> Callable[..., tuple[Array, Metrics]]:
    """(params, embeddings, batch, step) → (loss, metrics); of params it reads scale and bias."""
    objective = objectives.total(config)

    def loss(
        params: Any, embeddings: Embeddings, batch: Batch, step: Int[Array, ""]
    ) -> tuple[Array, Metrics]:
        raw = None
        if reads_raw(config):
            raw = _raw(config, embeddings, batch, step)
            embeddings = unit_rows(embeddings[0]), unit_rows(embeddings[1])
        image, text = _swapped(config, embeddings, step)
        own = {"params": locked(config, params)}
        scale, bias = model.apply(own, _scale_at(config, step), method="scale_and_bias")
        image, text = (x.astype(config.compute_dtype) for x in (image, text))
        groups = duplicates(config, batch)
        value, terms = objective(image, text, scale, bias, batch.get("semantics"), groups, raw)
        more = statistics.embeddings(*embeddings) if config.log.statistics else {}
        return value, {"loss": value, **terms, "scale": scale, **more}

    return loss


def make_gradients(config: ConfigDict, model: DualEncoder) -> Callable[..., Any]:
    """(params, batch, step) → ((loss, metrics), gradients)."""
    encode, loss_of = make_encode(config, model), make_loss(config, model)
    if config.microbatches > 1:
        in_parts = microbatches.gradients(encode, loss_of, config.microbatches)
        return lambda params, batch, step: in_parts(params, batch, step, key_of(config, step))

    def loss(params: Any, batch: Batch, step: Int[Array, ""]) -> tuple[Array, Metrics]:
        embeddings = encode(params, batch, key_of(config, step))
        return loss_of(params, embeddings, batch, step)

    return jax.value_and_grad(loss, has_aux=True)


def make_step(config: ConfigDict, model: DualEncoder, tx: optax.GradientTransformation) -> Step:
    """(state, batch) → (state, metrics of the state before the step)."""
    gradients_of, learning_rate = make_gradients(config, model), schedule(config)
    taught = make_taught(config, model)
    decay, skips = config.optimizer.ema_decay, config.health.skip_nonfinite > 0

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        batch = taught(state, batch)
        (_, metrics), gradients = gradients_of(state.params, batch, state.step)
        updates, opt_state = tx.update(gradients, state.opt_state, state.params)
        params = clamp_scale(optax.apply_updates(state.params, updates), config.model)
        if (scale := _scale_at(config, state.step)) is not None:
            # Else weight decay would move it, or a schedule leave it where it began.
            params |= {"logit_scale": parameter_of(scale, config.model.scale_form)}
        averaged = None
        if state.averaged is not None:
            averaged = optax.incremental_update(params, state.averaged, 1.0 - decay)
        metrics["gradient_norm"] = optax.tree.norm(gradients)
        metrics["update_norm"] = optax.tree.norm(updates)
        metrics["learning_rate"] = jnp.asarray(learning_rate(state.step))
        if config.log.statistics:
            metrics |= statistics.norms_by_layer(gradients, "gradient_norm")
            metrics |= statistics.norms_by_layer(state.params, "parameter_norm")
        after = dataclasses.replace(
            state, step=state.step + 1, params=params, opt_state=opt_state, averaged=averaged
        )
        return (_unless_finite(state, after, metrics) if skips else after), metrics

    return step


def _unless_finite(before: TrainState, after: TrainState, metrics: Metrics) -> TrainState:
    """`after`, or where a number of the step is not finite `before`, one step on: in the learning
    rate's schedule, too."""
    finite = jnp.all(jnp.array([jnp.isfinite(metrics[name]) for name in WATCHED]))
    kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), after, before)
    opt_state = optax.tree.set(kept.opt_state, _is_of_schedule, count=after.step)
    return dataclasses.replace(kept, step=after.step, opt_state=opt_state)


def _is_of_schedule(path: tuple[Any, ...], _: Any) -> bool:
    return any(getattr(part, "tuple_name", "") == "ScaleByScheduleState" for part in path)


def clamp_scale(params: Any, model: ConfigDict) -> Any:
    """The logit scale s back into [1, scale_max], as CLIP does after every step."""
    low, high = (parameter_of(scale, model.scale_form) for scale in (1.0, model.scale_max))
    return {**params, "logit_scale": jnp.clip(params["logit_scale"], low, high)}


def duplicates(config: ConfigDict, batch: Batch) -> Int[Array, "B"] | None:
    """A number for each pair, equal where two pairs share what `mask_duplicates` names."""
    kind = config.objective.mask_duplicates
    if kind == "caption":
        ids = batch["text"]
        return jnp.unique(ids, axis=0, return_inverse=True, size=len(ids))[1].reshape(-1)
    return batch["group"] if kind == "group" else None


def _scale_at(config: ConfigDict, step: Int[Array, ""]) -> Array | None:
    """s at a step: constant, 1/τ with τ linear in the step (Yaras et al.), or None: the model's."""
    if config.objective.temperature == "learned":
        return None
    if config.objective.temperature == "fixed":
        return jnp.asarray(config.model.scale_init, jnp.float32)
    first, last = config.objective.temperature_schedule
    return 1.0 / (first + (last - first) * step / max(config.steps - 1, 1))


def _raw(config: ConfigDict, embeddings: Embeddings, batch: Batch, step: Int[Array, ""]) -> Raw:
    """As the terms of `refinement` read them; z ~ N(0, I) of a pair is a function of (seed, step)
    and its place."""
    raw = Raw(*(x.astype(config.compute_dtype) for x in embeddings))
    if distils(config):
        taught = (batch[name].astype(config.compute_dtype) for name in TAUGHT)
        raw = raw._replace(**dict(zip(TAUGHT, taught, strict=True)))
    # The first place that no row has: `make_encode` folds the key with those of rows.
    key = jax.random.fold_in(key_of(config, step), config.batch_size)
    return raw._replace(noise=jax.random.normal(key, raw.image.shape))


def _swapped(config: ConfigDict, embeddings: Embeddings, step: Int[Array, ""]) -> Embeddings:
    if config.objective.swap == "none":
        return embeddings
    key = key_of(config, step)
    mode, share = config.objective.swap, config.objective.swap_share
    return swap(key, *embeddings, mode=mode, share=share)
