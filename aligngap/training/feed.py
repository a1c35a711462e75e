"""What goes to the devices, step by step; packed captions in as many rows as all processes need.

Their shape must be one on all processes, and no process may wait for the others to learn it. So at
step t each says what its batch of step t + AHEAD needs, the step itself takes the largest
(agreement.py), and its metrics are read before that batch is given to the devices.
"""

from collections import deque
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int

from aligngap.data import packing
from aligngap.data.packing import Layout
from aligngap.data.packing_plan import Plan
from aligngap.data.pipeline import Batches
from aligngap.data.records import Batch
from aligngap.parallel import distributed
from aligngap.parallel import mesh as meshes

AHEAD = 2  # Metrics are read one step late: those of t while t + 1 is under way.


class Fed(NamedTuple):
    """A step's batch, on the devices of all processes."""

    batch: dict[str, jax.Array]
    replaced: int  # Rows of it that this process had to replace.
    need: int = 0  # Rows a group that the captions AHEAD steps later need; 0: of no matter.


class Padded:
    """Captions are padded to one length, so there is nothing to agree on."""

    def __init__(self, batches: Batches, batch_size: int, mesh: Mesh) -> None:
        self._batches, self._batch_size, self._mesh = batches, batch_size, mesh

    def __next__(self) -> Fed:
        batch = meshes.global_batch(next(self._batches), self._batch_size, self._mesh)
        return Fed(batch, self._batches.replaced)

    def agree(self, need: int) -> None:
        """Nothing is needed."""


class Captions(NamedTuple):
    """A process's captions of a batch, by groups, and where they are to stand."""

    text: Int[np.ndarray, "G N L"]
    layouts: list[Layout]

    @property
    def need(self) -> int:
        """Rows a group."""
        return max(layout.needed for layout in self.layouts)


def laid_out(text: Int[np.ndarray, "B L"], plan: Plan) -> Captions:
    """A process's captions by a plan."""
    groups = packing.grouped(text, plan.size, plan.parts)
    return Captions(groups, [packing.layout(group, plan.row) for group in packing.lengths(groups)])


def placed(captions: Captions, plan: Plan, mesh: Mesh, need: int) -> dict[str, jax.Array]:
    """Packed on the devices, in the first of the plan's shapes that has `need` rows a group."""
    packed = packing.packed(*captions, plan.fitting(need), plan.row)
    return meshes.global_batch(packing.named(packed), plan.groups, mesh)


class _Read(NamedTuple):
    """A batch that waits for its step."""

    batch: Batch
    replaced: int
    captions: Captions


class Packed:
    """Captions packed by a plan; batches are read AHEAD of their step."""

    def __init__(self, batches: Batches, batch_size: int, mesh: Mesh, plan: Plan) -> None:
        self._batches, self._batch_size, self._mesh = batches, batch_size, mesh
        self._plan = plan
        self._read = deque(self._next_read() for _ in range(AHEAD))
        needs = distributed.gathered([read.captions.need for read in self._read])
        self._needs = deque(max(of_one) for of_one in zip(*needs, strict=True))

    def __next__(self) -> Fed:
        self._read.append(self._next_read())
        read, need = self._read.popleft(), self._needs.popleft()
        batch = meshes.global_batch(read.batch, self._batch_size, self._mesh)
        packed = placed(read.captions, self._plan, self._mesh, need)
        return Fed(batch | packed, read.replaced, self._read[-1].captions.need)

    def agree(self, need: int) -> None:
        """What the first step that nothing is known of needs, by all processes."""
        self._needs.append(need)

    def _next_read(self) -> _Read:
        batch = next(self._batches)
        return _Read(batch, self._batches.replaced, laid_out(batch["text"], self._plan))


def make(batches: Batches, batch_size: int, mesh: Mesh, plan: Plan | None) -> Padded | Packed:
    """The feed of a run, packed where it has a plan."""
    if plan is None:
        return Padded(batches, batch_size, mesh)
    return Packed(batches, batch_size, mesh, plan)
