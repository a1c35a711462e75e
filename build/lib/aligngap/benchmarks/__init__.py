"""What `aligngap bench NAME` runs: figures of this machine, never a pass or a fail.

Each room has `add_flags(parser)` and `run(arguments)`, which prints its lines.
"""

# name: what `aligngap bench --help` says of it. The room has the same name.
BENCHMARKS = {
    "step": "a training step of any config: time, arithmetic, memory, its parts, torch beside it",
    "data": "images a second, stage by stage and end to end, and the cores that a device needs",
    "readers": "images a second from tar shards, beside webdataset's and TensorFlow's readers",
    "loss": "time, memory and arithmetic of objectives, dense against tiled",
}
