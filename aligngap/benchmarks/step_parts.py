"""Where the time of a step goes: each part of it compiled and timed by itself.

Forward and backward pass of each tower with a random cotangent, the loss with the gradients of
embeddings and scale, the forward passes of a teacher and of what embeds captions, the optimiser's
update, the copy of a batch to the devices. A step's own program overlaps and fuses across these, so
that they need not add up to it; encoding once more (GradCache) is in none of them.
"""

import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from aligngap.benchmarks import timing
from aligngap.benchmarks.measured_step import MeasuredStep
from aligngap.data.sentences import SentenceEncoder
from aligngap.objectives.objective import distils
from aligngap.parallel import mesh as meshes
from aligngap.training import frozen
from aligngap.training.step import TAUGHT, key_of, make_encode, make_loss, make_taught
from aligngap.unit import unit_rows

REPEATS = 3


def seconds(step: MeasuredStep) -> dict[str, float]:
    """Median seconds by part, under the names of `model_flops.parts` and two more."""
    rows = next(step.batches)
    with jax.set_mesh(step.mesh):
        batch = step.placed(rows)
        found = {name: _tower(step, which, rows) for which, name in enumerate(TOWERS)}
        found["loss"] = _loss(step, batch)
        if distils(step.config):
            found["teacher"] = _teacher(step, batch)
        if (encoder := step.learner.encoder) is not None:
            found["sentence encoder"] = _sentences(step, encoder, batch["sentence"])
        found["optimiser"] = _optimiser(step)
        found["copy of the batch"] = _median(lambda: step.placed(rows))
    return found


TOWERS = ("image tower", "text tower")


def _tower(step: MeasuredStep, which: int, rows: Any) -> float:
    """Of a microbatch at a time; what of the encoding has no part in the result is not compiled."""
    config, count = step.config, step.config.microbatches
    encode = make_encode(config, step.learner.module)
    batch = step.placed({name: array[::count] for name, array in rows.items()}, count)

    def scored(params: Any, batch: Any, cotangent: Any) -> Any:
        embedding = encode(params, batch, key_of(config, jnp.zeros((), jnp.int32)))[which]
        return jnp.sum(embedding * cotangent)

    cotangent = _random(step, (config.batch_size // count, config.model.embed_dim))
    function = jax.jit(meshes.with_rules(jax.value_and_grad(scored)))
    return count * _median(lambda: function(step.state.params, batch, cotangent))


def _loss(step: MeasuredStep, batch: Any) -> float:
    config, encoder = step.config, step.learner.encoder
    loss, params = make_loss(config, step.learner.module), step.state.params
    shape = (config.batch_size, config.model.embed_dim)
    if encoder is not None:
        width = encoder.module.shape.hidden_size
        batch = {**batch, "semantics": _random(step, (config.batch_size, width))}
    if distils(config):
        batch |= {name: _random(step, shape, seed=2 + n) for n, name in enumerate(TAUGHT)}
    scalars = {name: x for name, x in params.items() if name.startswith("logit_")}

    def scored(scalars: Any, embeddings: Any, batch: Any) -> Any:
        whole = {**params, **scalars}
        return loss(whole, embeddings, batch, jnp.zeros((), jnp.int32))[0]

    function = jax.jit(meshes.with_rules(jax.value_and_grad(scored, argnums=(0, 1))))
    embeddings = _random(step, shape), _random(step, shape, seed=1)
    return _median(lambda: function(scalars, embeddings, batch))


def _teacher(step: MeasuredStep, batch: Any) -> float:
    taught = make_taught(step.config, step.learner.module)

    def embeddings(state: Any, batch: Any) -> Any:
        found = taught(state, batch)
        return [found[name] for name in TAUGHT]

    function = jax.jit(meshes.with_rules(embeddings))
    return _median(lambda: function(step.state, batch))


def _sentences(step: MeasuredStep, encoder: SentenceEncoder, ids: Any) -> float:
    params, count = frozen.placed(encoder.params, step.mesh), step.config.microbatches
    function = jax.jit(lambda params, ids: frozen.embed(encoder.module, params, ids, count))
    return _median(lambda: function(params, ids))


def _optimiser(step: MeasuredStep) -> float:
    """The update of all parameters from gradients of random numbers; nothing is donated."""
    held, tx = step.state, step.learner.tx

    def updated(gradients: Any, opt_state: Any, params: Any) -> Any:
        updates, opt_state = tx.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    layout = step.learner.layout
    function = jax.jit(updated, out_shardings=(layout.params, layout.opt_state))
    gradients = jax.tree.map(lambda x: 1e-3 * x, held.params)
    return _median(lambda: function(gradients, held.opt_state, held.params))


def _random(step: MeasuredStep, shape: tuple[int, ...], seed: int = 0) -> jax.Array:
    """Rows of length 1, laid out as a batch."""

    def made() -> jax.Array:
        return unit_rows(jax.random.normal(jax.random.key(seed), shape))

    return jax.jit(made, out_shardings=meshes.batch_sharding(step.mesh))()


def _median(function: Callable[[], Any]) -> float:
    return statistics.median(timing.calls(function, REPEATS))
