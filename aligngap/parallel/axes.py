"""The names of the mesh's axes, apart from mesh.py: the losses sum over them, and need no Flax."""

import jax

AXES = ("data", "fsdp", "tensor")
BATCH_AXES = ("data", "fsdp")  # Those that split the batch.


def of_batch() -> tuple[str, ...]:
    """Those of BATCH_AXES that the mesh in force has: one of a user's own may lack some."""
    there = jax.sharding.get_abstract_mesh().axis_names
    return tuple(axis for axis in BATCH_AXES if axis in there)
