"""The names of the mesh's axes, apart from mesh.py: the losses sum over them, and need no Flax."""

AXES = ("data", "fsdp", "tensor")
BATCH_AXES = ("data", "fsdp")  # Those that split the batch.
