"""What one process requests, all do at the same step: a request travels with each step's arrays.

Signals and clocks differ between processes, and a save is a matter of all of them. So each process
sends its own into the step, the step takes the largest, and all read it with the step's metrics.
How many rows of a batch each had to replace goes the same way, and is added up; so do the rows
that the captions of a later batch need, of which the most count (feed.py).
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int

from aligngap.parallel.mesh import AXES

COLUMNS = 3  # Of what a process sends: its request, rows it replaced, rows it needs.


class Request(IntEnum):
    """What is to be done after a step; the larger includes the smaller."""

    NOTHING = 0
    SAVE = 1
    STOP = 2


def requests(own: Request, mesh: Mesh, replaced: int = 0, need: int = 0) -> Int[Array, "devices 3"]:
    """This process's request and its need on each of its devices, and the rows it replaced on the
    first."""
    sharding = NamedSharding(mesh, PartitionSpec(AXES))
    rows = np.zeros((len(mesh.local_devices), COLUMNS), np.int32)
    rows[:, 0], rows[0, 1], rows[:, 2] = int(own), replaced, need
    return jax.make_array_from_process_local_data(sharding, rows, (mesh.size, COLUMNS))


def with_request(step: Callable[..., Any]) -> Callable[..., Any]:
    """(state, batch) → (state, metrics) becomes (state, batch, requests) → these and "request",
    "replaced" and "need"."""

    def agreed(state: Any, batch: Any, requests: Int[Array, "devices 3"]) -> tuple[Any, dict]:
        state, metrics = step(state, batch)
        own, replaced, need = requests.T
        told = {"request": own.max(), "replaced": replaced.sum(), "need": need.max()}
        return state, {**metrics, **told}

    return agreed
