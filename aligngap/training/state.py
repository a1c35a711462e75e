"""Everything that a step changes, as one frozen tree."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Int
from ml_collections import ConfigDict

from aligngap.models import parameters
from aligngap.models.dual_encoder import DualEncoder
from aligngap.parallel import mesh as meshes
from aligngap.runs import initial
from aligngap.runs.initial import InitialModel


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """Parameters and optimiser state in float32, whatever the compute dtype."""

    step: Int[Array, ""]  # Steps taken.
    params: Any
    opt_state: Any
    averaged: Any  # Exponential moving average of params, or None.

    @property
    def eval_params(self) -> Any:
        """The averaged parameters where there are any."""
        return self.params if self.averaged is None else self.averaged


def _boxed(config: ConfigDict, model: DualEncoder, tx: optax.GradientTransformation) -> TrainState:
    """The state at step 0, its parameters still boxed."""
    params = parameters.initial(config, model)
    averaged = jax.tree.map(jnp.copy, params) if config.optimizer.ema_decay else None
    return TrainState(jnp.zeros((), jnp.int32), params, _opened(tx.init(params)), averaged)


def _opened(tree: Any) -> Any:
    """Without the boxes that hold no array: an optimiser has no state for a locked parameter."""
    boxed = nn.meta.AxisMetadata
    return jax.tree.map(
        lambda x: nn.unbox(x) if isinstance(x, boxed) and not jax.tree.leaves(x) else x,
        tree,
        is_leaf=lambda x: isinstance(x, boxed),
    )


def abstract(
    config: ConfigDict, model: DualEncoder, tx: optax.GradientTransformation
) -> TrainState:
    """Shapes, dtypes and logical axis names of the state, without allocating it."""
    return jax.eval_shape(lambda: _boxed(config, model, tx))


def create(
    config: ConfigDict, model: DualEncoder, tx: optax.GradientTransformation, mesh: Mesh
) -> TrainState:
    """The state at step 0, each array made where it belongs on the mesh."""
    shardings = meshes.shardings(abstract(config, model, tx), mesh)
    # No rules and no mesh in force: Flax would constrain kernels before it has shaped them.
    return jax.jit(lambda: nn.unbox(_boxed(config, model, tx)), out_shardings=shardings)()


def start(
    config: ConfigDict,
    model: DualEncoder,
    tx: optax.GradientTransformation,
    mesh: Mesh,
    source: InitialModel | None,
) -> TrainState:
    """The state at step 0, with the parameters of the model that it starts from."""
    fresh = create(config, model, tx, mesh)
    params = initial.taken_over(config, fresh.params, mesh, source)
    averaged = None if fresh.averaged is None else jax.tree.map(jnp.copy, params)
    return dataclasses.replace(fresh, params=params, averaged=averaged)
