"""What a run would cost: the full-size step is lowered abstractly, nothing is allocated.

The step is lowered for one device; how arrays lie on the mesh is computed from the rules.
"""

import math
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh
from ml_collections import ConfigDict

from aligngap import flops
from aligngap.models import dual_encoder
from aligngap.parallel import mesh as meshes
from aligngap.training import optimizer, state
from aligngap.training.step import make_encode, make_judge, make_step

SEMANTICS_DIM = 384  # all-MiniLM-L6-v2; a user's own may differ, at no cost that matters here.
UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def describe(config: ConfigDict) -> str:
    """Parameters, FLOP a step, bytes a device, an estimate of activations, the sharding table.

    A mesh whose axes are all given need not be at hand; a -1 is filled from the devices there are.
    """
    mesh = _mesh(config)
    meshes.check_batch(config.batch_size, mesh, config.microbatches)
    model, tx = dual_encoder.make(config), optimizer.make(config)
    boxed = state.abstract(config, model, tx)
    optimizer.check(config, boxed.params)
    layout = meshes.shardings(boxed, mesh)
    abstract, batch = nn.unbox(boxed), _batch(config)
    step = make_step(config, model, tx)
    jax.jit(step, donate_argnums=0).lower(abstract, batch)  # Raises where shapes do not fit.
    work = flops.count(step, abstract, batch)
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    lines = [
        f"Model            {config.name}, tie: {config.model.tie}",
        f"Mesh             {', '.join(f'{axis} {size}' for axis, size in mesh.shape.items())}",
        f"Parameters       {_size(abstract.params):,}",
        f"FLOP a step      {work:.4g} ({work / config.batch_size / 1e9:.1f} GFLOP a pair)",
        f"FLOP in all      {work * config.steps:.4g} in {config.steps:,} steps of "
        f"{config.batch_size:,} pairs",
        "Bytes a device",
        f"  parameters     {_human(_bytes(abstract.params, layout.params))}",
        f"  gradients      {_human(_bytes(abstract.params, layout.params))}",
        f"  optimiser      {_human(_bytes(abstract.opt_state, layout.opt_state))}",
        f"  activations    {_human(_saved(config, model, abstract.params, batch) / parts)} "
        "(estimate: what automatic differentiation saves, before fusion, batch split only)",
        "",
        *_table(abstract.params, layout.params),
    ]
    return "\n".join(lines)


def _mesh(config: ConfigDict) -> AbstractMesh:
    sizes = [config.mesh[axis] for axis in meshes.AXES]
    devices = jax.device_count() if -1 in sizes else math.prod(sizes)
    return AbstractMesh(meshes.shape(config, devices), meshes.AXES)


def _batch(config: ConfigDict) -> dict[str, jax.ShapeDtypeStruct]:
    size, side = config.batch_size, config.model.image.size
    return {
        "image": jax.ShapeDtypeStruct((size, side, side, 3), jnp.uint8),
        "text": jax.ShapeDtypeStruct((size, config.model.text.context_length), jnp.int32),
        "semantics": jax.ShapeDtypeStruct((size, SEMANTICS_DIM), jnp.float32),
        "group": jax.ShapeDtypeStruct((size,), jnp.int32),
    }


def _saved(config: ConfigDict, model: Any, params: Any, batch: Any) -> int:
    """Bytes that the forward pass keeps for the backward pass, parameters not counted."""
    encode, judge = make_encode(config, model), make_judge(config, model)

    def residuals(params: Any, batch: Any) -> Any:
        part = jax.tree.map(lambda x: x[: config.batch_size // config.microbatches], batch)
        of_part = jax.vjp(lambda p: encode(p, part), params)[1]
        step = jnp.zeros((), jnp.int32)
        of_loss = jax.vjp(lambda e: judge(params, e, batch, step)[0], encode(params, batch))[1]
        return of_part, of_loss

    kept = jax.tree.leaves(jax.eval_shape(residuals, params, batch))
    total = sum(math.prod(array.shape) * array.dtype.itemsize for array in kept)
    return max(total - sum(4 * math.prod(p.shape) for p in jax.tree.leaves(params)), 0)


def _size(tree: Any) -> int:
    return sum(math.prod(array.shape) for array in jax.tree.leaves(tree))


def _bytes(tree: Any, layout: Any) -> int:
    """Bytes of a tree on one device."""
    shards = jax.tree.map(lambda array, s: s.shard_shape(array.shape), tree, layout)
    sizes = jax.tree.map(lambda array, s: math.prod(s) * array.dtype.itemsize, tree, shards)
    return sum(jax.tree.leaves(sizes))


def _human(size: float) -> str:
    for unit, name in UNITS:
        if size >= unit:
            return f"{size / unit:.2f} {name}"
    return f"{size:.0f} B"


def _table(params: Any, layout: Any) -> Iterator[str]:
    """A line for each parameter: its path, shape, and the mesh axis of each of its own axes."""
    yield f"{'parameter':<52} {'shape':<24} sharding"
    leaves = jax.tree.leaves_with_path(params)
    for (path, array), sharding in zip(leaves, jax.tree.leaves(layout), strict=True):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        spec = ", ".join(str(axis) if axis else "·" for axis in sharding.spec)
        yield f"{name:<52} {array.shape!s:<24} ({spec})"
