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
from aligngap.models.parameters import path_name
from aligngap.objectives.objective import distils
from aligngap.parallel import mesh as meshes
from aligngap.runs import initial
from aligngap.runs.initial import InitialModel


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """Parameters in float32, whatever the compute dtype, as is the optimiser's state unless its
    moments are to be in bfloat16."""

    step: Int[Array, ""]  # Steps taken.
    params: Any
    opt_state: Any
    averaged: Any  # Exponential moving average of params, or None.

    @property
    def eval_params(self) -> Any:
        """The averaged parameters where there are any."""
        return self.params if self.averaged is None else self.averaged


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Taught(TrainState):
    """Where a loss reads what the model at step 0 makes of a batch. A class of its own: the
    checkpoints of all others have no such part."""

    teacher: Any  # Its parameters.


def _boxed(config: ConfigDict, model: DualEncoder, tx: optax.GradientTransformation) -> TrainState:
    """The state at step 0, its parameters still boxed."""
    params = parameters.initial(config, model)
    averaged = jax.tree.map(jnp.copy, params) if config.optimizer.ema_decay else None
    opt_state = _described(tx.init(params), params)
    own = (jnp.zeros((), jnp.int32), params, opt_state, averaged)
    return Taught(*own, jax.tree.map(jnp.copy, params)) if distils(config) else TrainState(*own)


def _described(opt_state: Any, params: Any) -> Any:
    """The boxes of an optimiser's arrays as these are: without those that hold none (it has no
    state for a locked parameter), and with the names of the axes that an array has, where it lacks
    one of its parameter's (Adafactor's second moments of rows and of columns)."""
    shapes = {path_name(path): box.value.shape for path, box in _boxes(params) if _is_box(box)}

    def described(path: tuple[Any, ...], x: Any) -> Any:
        if not _is_box(x):
            return x
        if not jax.tree.leaves(x):
            return nn.unbox(x)
        return x.replace(names=_names(x.names, _of_parameter(path, shapes), x.value.shape))

    return jax.tree.map_with_path(described, opt_state, is_leaf=_is_box)


def _names(names: tuple[Any, ...], whole: tuple[int, ...], own: tuple[int, ...]) -> tuple[Any, ...]:
    """Of the axes of an array of shape `own`: a parameter's of shape `whole`, or of all its axes
    but one; of any other array, none."""
    if own == whole:
        return names
    for axis in reversed(range(len(whole))):
        if own == whole[:axis] + whole[axis + 1 :]:
            return names[:axis] + names[axis + 1 :]
    return (None,) * len(own)


def _of_parameter(path: tuple[Any, ...], shapes: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    """The shape of the parameter whose path ends that of an optimiser's array."""
    parts = path_name(path).split("/")
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next(shapes[end] for end in ends if end in shapes)


def _boxes(tree: Any) -> list[tuple[Any, Any]]:
    return jax.tree.leaves_with_path(tree, is_leaf=_is_box)


def _is_box(x: Any) -> bool:
    return isinstance(x, nn.meta.AxisMetadata)


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
    copies = [name for name in ("averaged", "teacher") if getattr(fresh, name, None) is not None]
    parts = {name: jax.tree.map(jnp.copy, params) for name in copies}
    return dataclasses.replace(fresh, params=params, **parts)
