"""The largest batch that a device holds, from the memory figures of the backend at hand.

Memory of a step is close to linear in the batch: two small batches are compiled, the rest is
extrapolated, and the largest compiled in its turn. Nothing is allocated.
"""

import math
import sys

import jax
from ml_collections import ConfigDict

from aligngap.training import run

PROBES = (64, 192)  # Batches that are compiled; the result is a multiple of the first.


def largest_batch(
    config: ConfigDict, limit: float, most: int, probes: tuple[int, int] = PROBES
) -> int:
    """Of at most `most` pairs, in `limit` bytes a device; 0: not even the first probe fits."""
    few, more = (memory(_with(config, batch)) for batch in probes)
    found = extrapolated(few, more, limit, most, probes)
    while found > probes[1] and memory(_with(config, found)) > limit:
        found -= probes[0]
    return found


def extrapolated(
    few: float, more: float, limit: float, most: int, probes: tuple[int, int] = PROBES
) -> int:
    """The same by the bytes of both probes; infinite: XLA says that it cannot."""
    if few > limit or math.isinf(few):
        return 0
    a_pair = max((more - few) / (probes[1] - probes[0]), 1.0)
    room = (min(limit, sys.float_info.max) - few) / a_pair + probes[0]
    return int(min(room, most)) // probes[0] * probes[0]


def memory(config: ConfigDict) -> float:
    """Bytes on a device that the compiled step needs: state, batch, results and temporaries."""
    # What autotuning would find changes speed and not what is kept.
    options = {"xla_gpu_autotune_level": 0} if jax.default_backend() == "gpu" else {}
    return run.learner(config).step_bytes(**options)


def limit() -> float:
    """Bytes of a device that programs may take, as its allocator says; nine tenths of them, for
    what is fragmented and for libraries. Without an allocator that says, infinite."""
    found = jax.local_devices()[0].memory_stats() or {}
    return 0.9 * found.get("bytes_limit", float("inf"))


def _with(config: ConfigDict, batch: int) -> ConfigDict:
    changed = config.copy_and_resolve_references()
    changed.batch_size = batch
    return changed
