"""The device mesh and how every array lies on it: the whole story of sharding.

Modules name the axes of their parameters and activations logically ("embed", "heads", "batch").
RULES maps each name to mesh axes, and XLA's partitioner derives all communication from that:
  data    splits the batch; parameters are copies.
  fsdp    splits the batch and, along the width, parameters and optimiser state (ZeRO-3).
  tensor  splits attention heads, the MLP's hidden units and the vocabulary.
To try another layout, change RULES and nothing else.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from aligngap.errors import UsageError
from aligngap.models.parameters import path_name
from aligngap.parallel.axes import AXES, BATCH_AXES

RULES: tuple[tuple[str, str | tuple[str, ...] | None], ...] = (
    ("batch", BATCH_AXES),
    ("embed", "fsdp"),
    ("heads", "tensor"),
    ("mlp", "tensor"),
    ("vocab", "tensor"),
    ("layers", None),
    ("qkv", None),
    ("head_dim", None),
    ("length", None),
    ("patch", None),
    ("projection", None),
    ("activation", None),  # The width of an activation: never split, or each layer would gather.
)


def shape(config: ConfigDict, devices: int) -> tuple[int, int, int]:
    """(data, fsdp, tensor) with a -1 filled in; UsageError where it does not make `devices`."""
    sizes = [int(config.mesh[axis]) for axis in AXES]
    if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
        raise UsageError(f"mesh {_named(sizes)}: each axis is ≥ 1, and at most one of them is -1")
    known = int(np.prod([size for size in sizes if size != -1]))
    filled = [devices // known if size == -1 else size for size in sizes]
    if np.prod(filled) != devices:
        raise UsageError(
            f"mesh {_named(sizes)} does not make use of {devices} devices: the product of its axes "
            f"must be {devices} (set one axis to -1 to fill it)"
        )
    return filled[0], filled[1], filled[2]


def make(config: ConfigDict) -> Mesh:
    """The mesh over all devices of all processes."""
    sizes = shape(config, jax.device_count())
    # Auto axes: explicit ones, the default, refuse the product of two batch-sharded embeddings.
    return jax.make_mesh(sizes, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def check_batch(batch_size: int, mesh: Mesh | AbstractMesh, microbatches: int = 1) -> None:
    """UsageError where the batch axes do not divide each part of the global batch."""
    parts = groups(mesh, microbatches)
    if batch_size % parts:
        lower, upper = batch_size // parts * parts, -(-batch_size // parts) * parts
        nearest = f"{upper}" if lower == 0 else f"{lower} or {upper}"
        into = "mesh.data·mesh.fsdp" + ("·microbatches" if microbatches > 1 else "")
        raise UsageError(
            f"batch_size={batch_size} does not divide over {into}={parts}; "
            f"the nearest that do are {nearest}"
        )


def groups(mesh: Mesh | AbstractMesh, microbatches: int = 1) -> int:
    """Into how many parts devices and microbatches split a batch."""
    return int(mesh.shape["data"] * mesh.shape["fsdp"] * microbatches)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """First axis over all batch axes; the rest is whole on each device."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """A copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def shardings(abstract: Any, mesh: Mesh | AbstractMesh) -> Any:
    """Sharding of each array of a tree whose parameters carry logical names.

    UsageError names the first parameter that the mesh does not divide.
    """
    specs = nn.get_partition_spec(abstract)
    tree = nn.logical_to_mesh_sharding(specs, mesh, RULES)
    jax.tree.map_with_path(_check_divides, nn.unbox(abstract), tree)
    return tree


def placed(abstract: Any, layout: Any) -> Any:
    """Shapes and dtypes of a tree of arrays, with where each lies: to compile for."""

    def struct(array: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)

    return jax.tree.map(struct, abstract, layout)


def own_rows(batch_size: int, mesh: Mesh) -> list[int]:
    """Which rows of a global batch this process's devices hold, in order.

    Where an axis that does not split the batch spans processes, they hold the same rows.
    """
    held = batch_sharding(mesh).addressable_devices_indices_map((batch_size,))
    return sorted(
        {row for (rows,) in filter(None, held.values()) for row in range(batch_size)[rows]}
    )


def global_batch(batch: dict[str, np.ndarray], batch_size: int, mesh: Mesh) -> dict[str, jax.Array]:
    """The rows of `own_rows` → arrays of all rows, that span all processes."""
    place = jax.make_array_from_process_local_data
    sharding = batch_sharding(mesh)
    return {name: place(sharding, own, (batch_size, *own.shape[1:])) for name, own in batch.items()}


def with_rules(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, traced with RULES in force, so that logical constraints mean something."""

    @functools.wraps(function)
    def ruled(*args: Any, **kwargs: Any) -> Any:
        with nn.logical_axis_rules(RULES):
            return function(*args, **kwargs)

    return ruled


def _check_divides(path: tuple[Any, ...], array: Any, sharding: NamedSharding) -> None:
    for size, axes in zip(array.shape, sharding.spec, strict=False):
        names = (axes,) if isinstance(axes, str) else axes or ()
        parts = int(np.prod([sharding.mesh.shape[name] for name in names], initial=1))
        if size % parts:
            raise UsageError(
                f"parameter {path_name(path)} of shape "
                f"{array.shape} does not divide over mesh axis {'·'.join(names)}={parts}"
            )


def _named(sizes: list[int]) -> str:
    return "(" + ", ".join(f"{axis}={size}" for axis, size in zip(AXES, sizes, strict=True)) + ")"
