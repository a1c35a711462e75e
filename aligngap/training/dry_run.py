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

from aligngap import devices, flops
from aligngap.config import data_dir
from aligngap.data import bert, corpora, packing_plan, records, sentence_models, tokenizers
from aligngap.data.bert import Bert
from aligngap.data.packing_plan import Plan
from aligngap.errors import AligngapError
from aligngap.models import dual_encoder
from aligngap.models.parameters import path_name
from aligngap.parallel import mesh as meshes
from aligngap.training import frozen, optimizer, state
from aligngap.training.step import key_of, make_encode, make_loss, make_step

UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def describe(config: ConfigDict, topology: str = "") -> str:
    """Parameters, FLOP a step, bytes a device, an estimate of activations, the sharding table.

    Of a topology such as "h100-64", which need not be at hand; else of a mesh whose axes are all
    given, or of the devices there are. UsageError for an unknown topology.
    """
    tokenizers.check(config)
    mesh = _mesh(config, topology)
    meshes.check_batch(config.batch_size, mesh, config.microbatches)
    model, tx = dual_encoder.make(config), optimizer.make(config)
    boxed = state.abstract(config, model, tx)
    optimizer.check(config, boxed.params)
    layout = meshes.shardings(boxed, mesh)
    plan, how = _packing(config, meshes.groups(mesh, config.microbatches))
    abstract, batch = nn.unbox(boxed), _batch(config, plan)
    step, encoder = make_step(config, model, tx), _encoder(config)
    learnt: tuple[Any, ...] = (abstract, batch)
    inputs = (bert.abstract(encoder), *learnt) if encoder else learnt
    if encoder:
        step = frozen.with_semantics(step, encoder, config.microbatches)
    jax.jit(step).lower(*inputs)  # Raises where shapes do not fit.
    work = flops.count(step, *inputs)
    parts = meshes.groups(mesh)
    kept = [
        ("parameters", _bytes(abstract.params, layout.params)),
        ("gradients", _bytes(abstract.params, layout.params)),
        ("optimiser", _bytes(abstract.opt_state, layout.opt_state)),
    ]
    if abstract.averaged is not None:
        kept.append(("average", _bytes(abstract.averaged, layout.averaged)))
    if encoder:
        kept.append(("encoder", 4 * _size(inputs[0])))
        width = (config.batch_size, encoder.shape.hidden_size)
        batch = {**batch, "semantics": jax.ShapeDtypeStruct(width, jnp.float32)}
    saved = _saved(config, model, abstract.params, batch) / parts
    lines = [
        f"Model            {config.name}, tie: {config.model.tie}",
        f"Mesh             {', '.join(f'{axis} {size}' for axis, size in mesh.shape.items())}",
        f"Parameters       {_size(abstract.params):,}",
        *([f"Captions         {how}"] if how else []),
        f"FLOP a step      {work:.4g} ({work / config.batch_size / 1e9:.1f} GFLOP a pair)",
        f"FLOP in all      {work * config.steps:.4g} in {config.steps:,} steps of "
        f"{config.batch_size:,} pairs",
        *_at_peak(topology, work, config.compute_dtype),
        "Bytes a device",
        *(f"  {name:<14} {_human(size)}" for name, size in kept),
        f"  activations    {_human(saved)} "
        "(estimate: what automatic differentiation saves, before fusion, batch split only)",
        *_fit(topology, sum(size for _, size in kept), saved),
        "",
        *_table(abstract.params, layout.params),
    ]
    return "\n".join(lines)


def _encoder(config: ConfigDict) -> Bert | None:
    """What embeds captions within the step, without its weights."""
    if not records.embeds_in_step(config):
        return None
    folder = data_dir(config.data.data_dir)
    model = sentence_models.read(config.data.semantics_model, folder)
    return Bert(model.shape, model.pooling)


def _packing(config: ConfigDict, groups: int) -> tuple[Plan | None, str]:
    """The plan of packed captions, where their corpus is at hand, and how they are counted."""
    if not config.data.pack_captions:
        return None, ""
    try:
        source = corpora.open_train(config)
        tokenizer = tokenizers.make(config, records.texts_of(source))
        counts = packing_plan.counts(config, source, tokenizer, groups)
    except AligngapError as error:
        return None, f"counted with their padding, which packing leaves out: {error}"
    plan = packing_plan.make(config, groups, counts)
    return plan, f"of a device's batch, {plan}; the first is counted"


def flop_a_pair(config: ConfigDict, plan: Plan | None = None) -> float:
    """FLOP of a step, forward and backward, by the pairs of its batch; packed where a plan says
    so, in the first of its shapes."""
    model, tx = dual_encoder.make(config), optimizer.make(config)
    abstract = nn.unbox(state.abstract(config, model, tx))
    step, batch = make_step(config, model, tx), _batch(config, plan)
    return flops.count(step, abstract, batch) / config.batch_size


def _batch(config: ConfigDict, plan: Plan | None) -> dict[str, jax.ShapeDtypeStruct]:
    packed = plan.shapes(plan.counts[0]) if plan else {}
    shapes = records.batch_shapes(config) | packed
    return {name: jax.ShapeDtypeStruct(*array) for name, array in shapes.items()}


def _mesh(config: ConfigDict, topology: str) -> AbstractMesh:
    sizes = [config.mesh[axis] for axis in meshes.AXES]
    count = jax.device_count() if -1 in sizes else math.prod(sizes)
    if topology:
        count = devices.topology(topology)[1]
    return AbstractMesh(meshes.shape(config, count), meshes.AXES)


def _fit(topology: str, kept: float, saved: float) -> Iterator[str]:
    """How much of a device's memory is taken."""
    if topology:
        memory = devices.topology(topology)[0].memory
        taken = [f"{100 * size / (memory * 1e9):.0f} %" for size in (kept, kept + saved)]
        yield f"  of its memory  {taken[0]} of {memory} GB, {taken[1]} with activations"


def _at_peak(topology: str, work: float, dtype: str) -> Iterator[str]:
    """What a step takes at least, where the maker says what the devices do of this dtype."""
    if topology:
        kind, count = devices.topology(topology)
        if peak := kind.peak.get(dtype):
            yield f"At their peak    {work / (peak * count):.3g} s a step ({dtype})"


def _saved(config: ConfigDict, model: Any, params: Any, batch: Any) -> int:
    """Bytes that the forward pass keeps for the backward pass, parameters not counted."""
    encode, loss_of = make_encode(config, model), make_loss(config, model)

    def residuals(params: Any, batch: Any) -> Any:
        part = jax.tree.map(lambda x: x[: len(x) // config.microbatches], batch)
        step = jnp.zeros((), jnp.int32)
        key = key_of(config, step)
        of_part = jax.vjp(lambda p: encode(p, part, key), params)[1]
        embeddings = encode(params, batch, key)
        of_loss = jax.vjp(lambda e: loss_of(params, e, batch, step)[0], embeddings)[1]
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
        name = path_name(path)
        spec = ", ".join(str(axis) if axis else "·" for axis in sharding.spec)
        yield f"{name:<52} {array.shape!s:<24} ({spec})"
