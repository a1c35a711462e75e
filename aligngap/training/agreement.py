"""What one process requests, all do at the same step: a request travels with each step's arrays.

Signals and clocks differ between processes, and a save is a matter of all of them. So each process
sends its own into the step, the step takes the largest, and all read it with the step's metrics.
How many rows of a batch each had to replace goes the same way, and is added up.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int

from aligngap.parallel.mesh import AXES


class Request(IntEnum):
    """What is to be done after a step; the larger includes the smaller."""

    NOTHING = 0
    SAVE = 1
    STOP = 2


def requests(own: Request, mesh: Mesh, replaced: int = 0) -> Int[Array, "devices 2"]:
    """This process's request on each of its devices, and the rows it replaced on the first."""
    sharding = NamedSharding(mesh, PartitionSpec(AXES))
    rows = np.zeros((len(mesh.local_devices), 2), np.int32)
    rows[:, 0], rows[0, 1] = int(own), replaced
    return jax.make_array_from_process_local_data(sharding, rows, (mesh.size, 2))


def with_request(step: Callable[..., Any]) -> Callable[..., Any]:
    """(state, batch) → (state, metrics) becomes (state, batch, requests) → these and "request" and
    "replaced"."""

    def agreed(state: Any, batch: Any, requests: Int[Array, "devices 2"]) -> tuple[Any, dict]:
        state, metrics = step(state, batch)
        told = {"request": requests[:, 0].max(), "replaced": requests[:, 1].sum()}
        return state, {**metrics, **told}

    return agreed
