"""What a run would cost: the full-size step is traced abstractly, nothing is allocated.

The step is traced for one device; how arrays lie on the mesh is computed from the rules.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
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
from aligngap.training import activations, frozen, optimizer, remat, state
from aligngap.training.step import make_step

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
    encoder = _encoder(config)
    learnt: tuple[Any, ...] = (abstract, batch)
    inputs = (bert.abstract(encoder), *learnt) if encoder else learnt
    parts = meshes.groups(mesh)
    kept = [
        ("parameters", _bytes(abstract.params, layout.params)),
        ("gradients", _bytes(abstract.params, layout.params)),
        ("optimiser", _bytes(abstract.opt_state, layout.opt_state)),
    ]
    if abstract.averaged is not None:
        kept.append(("average", _bytes(abstract.averaged, layout.averaged)))
    if isinstance(abstract, state.Taught):
        kept.append(("teacher", _bytes(abstract.teacher, layout.teacher)))
    if encoder:
        kept.append(("encoder", 4 * _size(inputs[0])))
    always = sum(size for _, size in kept)
    policies = _policies(config, encoder, plan, always, parts, inputs, topology) if topology else {}
    own = remat.under(config, _decided(config, policies, always, topology))
    saved, work = _activations(own, encoder, plan) / parts, _work(own, encoder, inputs)
    lines = [
        f"Model            {config.name}, tie: {config.model.tie}",
        f"Remat            {own.model.remat}" + (" (auto)" if own != config else ""),
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
        *_fit(topology, always, saved),
        *_by_policy(policies),
        "",
        *_table(abstract.params, layout.params),
    ]
    return "\n".join(lines)


@dataclass(frozen=True)
class Policy:
    """What a remat policy comes to: bytes a device, FLOP a step, and the pairs that fit."""

    activations: float
    work: int
    largest: int


def _policies(
    config: ConfigDict,
    encoder: Bert | None,
    plan: Plan | None,
    always: int,
    parts: int,
    inputs: Any,
    topology: str,
) -> dict[str, Policy]:
    width = _width(encoder)
    saved = activations.by_policy(config, width, plan)
    room = _memory(topology) - always
    largest = activations.largest_batches(config, saved, room, parts, width, plan)
    return {
        policy: Policy(
            max(saved[policy], 0.0) / parts,
            _work(remat.under(config, policy), encoder, inputs),
            largest[policy],
        )
        for policy in saved
    }


def _decided(config: ConfigDict, policies: dict[str, Policy], always: int, topology: str) -> str:
    """The policy of the config; of "auto" the first whose estimate fits, else the last."""
    if config.model.remat != "auto":
        return str(config.model.remat)
    if not topology:
        return "none"
    room = _memory(topology) - always
    fitting = [name for name, policy in policies.items() if policy.activations <= room]
    return (fitting or list(policies)[-1:])[0]


def _memory(topology: str) -> float:
    """Bytes of a device that a step may take."""
    return remat.SHARE * 1e9 * devices.topology(topology)[0].memory


def _by_policy(policies: dict[str, Policy]) -> Iterator[str]:
    """A line for each policy of a topology: what it takes, and the batch that would fit."""
    if policies:
        yield f"Remat (estimate)   {'activations':<14} {'FLOP a step':<14} largest batch"
    for name, policy in policies.items():
        size = _human(policy.activations)
        yield f"  {name:<16} {size:<14} {policy.work:<14.4g} {policy.largest:,}"


def _activations(config: ConfigDict, encoder: Bert | None, plan: Plan | None) -> float:
    return max(activations.of_step(config, _width(encoder), plan), 0.0)


def _width(encoder: Bert | None) -> int:
    return encoder.shape.hidden_size if encoder else 0


def _work(config: ConfigDict, encoder: Bert | None, inputs: Any) -> int:
    """FLOP of a step; raises where its shapes do not fit."""
    step = make_step(config, dual_encoder.make(config), optimizer.make(config))
    if encoder:
        step = frozen.with_semantics(step, encoder, config.microbatches)
    return flops.count(step, *inputs)


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
        if peak := kind.peak_of(dtype):
            yield f"At their peak    {work / (peak * count):.3g} s a step ({dtype})"


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
