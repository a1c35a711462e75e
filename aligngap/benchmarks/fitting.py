"""The largest batch that a device holds, from the memory figures of the backend at hand.

Memory of a step is close to linear in the batch: two small batches are compiled, and the rest is
extrapolated. Nothing is allocated.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from aligngap.benchmarks.measured_step import lower
from aligngap.data import records
from aligngap.parallel import mesh as meshes
from aligngap.parallel.mesh import AXES
from aligngap.training import agreement, run

POLICIES = (False, True)  # Of model.remat: the one that computes least again first.
PROBES = (64, 192)  # Batches that are compiled; the result is a multiple of the first.


def largest_batch(
    config: ConfigDict, limit: float, most: int, probes: tuple[int, int] = PROBES
) -> int:
    """Of at most `most` pairs, in `limit` bytes a device; 0: not even the first probe fits."""
    few, more = (memory(_with(config, batch)) for batch in probes)
    a_pair = max((more - few) / (probes[1] - probes[0]), 1.0)
    room = (limit - few) / a_pair + probes[0]
    return max(0, min(int(room), most) // probes[0] * probes[0])


def memory(config: ConfigDict) -> int:
    """Bytes on a device that the compiled step needs: state, batch, results and temporaries."""
    made = run.learner(config)
    with jax.set_mesh(made.mesh):
        # What autotuning would find changes speed and not what is kept.
        options = {"xla_gpu_autotune_level": 0} if jax.default_backend() == "gpu" else {}
        compiled = lower(made, *_abstract(made)).compile(compiler_options=options)
    planned = compiled.memory_analysis()
    kept = planned.argument_size_in_bytes + planned.output_size_in_bytes
    return int(kept - planned.alias_size_in_bytes + planned.temp_size_in_bytes)


def limit() -> float:
    """Bytes of a device that programs may take, as its allocator says; nine tenths of them, for
    what is fragmented and for libraries. Without an allocator that says, infinite."""
    found = jax.local_devices()[0].memory_stats() or {}
    return 0.9 * found.get("bytes_limit", float("inf"))


def _with(config: ConfigDict, batch: int) -> ConfigDict:
    changed = config.copy_and_resolve_references()
    changed.batch_size = batch
    return changed


def _abstract(made: run.Learner) -> tuple[Any, Any, Any]:
    """State, batch and requests by their shapes, laid out on the mesh."""
    laid_out: Callable[..., Any] = lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)  # noqa: E731
    state = jax.tree.map(laid_out, nn.unbox(made.abstract), made.layout)
    over, own = meshes.batch_sharding(made.mesh), records.rescales(made.config)
    shapes = records.batch_shapes(made.config, records.SEMANTICS if own else 0).items()
    batch = {k: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=over) for k, x in shapes}
    everywhere = NamedSharding(made.mesh, PartitionSpec(AXES))
    requests = (made.mesh.size, agreement.COLUMNS)
    return state, batch, jax.ShapeDtypeStruct(requests, jnp.int32, sharding=everywhere)
