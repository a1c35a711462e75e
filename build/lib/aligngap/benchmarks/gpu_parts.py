"""The parts of `benchmarks/on_gpu.py`, each a process:

    python -m aligngap.benchmarks.gpu_parts FUNCTION OUTPUT SMALL [ARGUMENT]

A part yields what it has found so far, which is written to OUTPUT at once.
"""

import contextlib
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from aligngap import atomic, devices
from aligngap import config as configs
from aligngap.benchmarks import data as of_data
from aligngap.benchmarks import fitting, loss, peers, step_peers, timing
from aligngap.benchmarks.measured_step import MeasuredStep, random_batch
from aligngap.benchmarks.step_peers import Beginning, python_of
from aligngap.config import tower
from aligngap.errors import AligngapError
from aligngap.models.parameters import initial
from aligngap.presets import preset
from aligngap.training import model_flops, run

Found = dict[str, Any]
ROUNDS, STEPS = 3, 4
MOST = 4096
PEER_BATCHES = (1024, 512, 256)  # The largest that has room counts.
LOSS_BATCHES = (32768, 8192)
DIGEST_BATCH, DIGEST_STEPS = 256, 10


def config(small: bool, name: str = "clip", batch: int = MOST) -> ConfigDict:
    """configs/large_step.py, or something tiny."""
    path = peers.ROOT / "configs" / "large_step.py"
    made = configs.load(f"{path}:{name}", [f"--config.batch_size={batch}"])
    if small:
        made.model.embed_dim = 32
        made.model.image.update(tower(64, 2, 2, 4.0), size=32, patch_size=8)
        made.model.text.update(tower(64, 2, 2, 4.0), context_length=12, vocab_size=640)
    return made


def largest(small: bool, name: str) -> Iterator[Found]:
    """The largest batch by remat policy; speed at that of the first, and of the first that has room
    for all that is asked for."""
    most, probes = (128, (32, 64)) if small else (MOST, fitting.PROBES)
    limit = fitting.limit() if not small else 60e6
    batches: dict[str, int] = {}
    measured: list[Found] = []
    for policy in configs.REMAT:
        made = config(small, name)
        made.model.remat = policy
        batches[str(policy)] = fitting.largest_batch(made, limit, most, probes)
        yield {"largest_batch": batches, "measured": measured}
        made.batch_size = batches[str(policy)]
        first = policy == configs.REMAT[0]
        if made.batch_size and (first or made.batch_size == most):
            with contextlib.suppress(jax.errors.JaxRuntimeError):
                measured.append(_speed(made))
            yield {"largest_batch": batches, "measured": measured}
        if batches[str(policy)] == most:
            return


def _speed(made: ConfigDict) -> Found:
    """Images a second and MFU of some rounds."""
    step = MeasuredStep(made)
    seconds = [step.round(STEPS).seconds for _ in range(ROUNDS)]
    middle, peak = statistics.median(seconds), devices.peak(made.compute_dtype)
    work = sum(model_flops.parts(made).values())
    return {
        "batch_size": made.batch_size,
        "remat": str(made.model.remat),
        "seconds": seconds,
        "images_per_second": made.batch_size / middle,
        "mfu": work / middle / peak if peak else None,
        "compiling": step.compiling,
        "memory": step.memory()._asdict(),
        "device": jax.devices()[0].device_kind,
    }


def peer(small: bool, name: str) -> Iterator[Found]:
    """Images a second of another program alone on the device, at the largest batch it has room for;
    JAX makes its weights on the host."""
    python = python_of(name)
    if python is None:
        raise AligngapError(f"no {name} here: {step_peers.PROGRAMS[name].install}")
    device, failed = "cpu" if small else "cuda", []
    for batch in (16,) if small else PEER_BATCHES:
        made = config(small, "clip", batch)
        own = run.learner(made)
        params = nn.unbox(initial(made, own.module))
        begin = Beginning(made, params, random_batch(own), None)
        with tempfile.TemporaryDirectory() as folder:
            try:
                held = step_peers.start(name, begin, python, Path(folder), device)
            except AligngapError as error:
                failed.append(str(error))
                yield {"failed": failed}
                continue
            seconds = [held.round(STEPS) for _ in range(ROUNDS)]
            held.end()
        rate = batch / statistics.median(seconds)
        about = {"batch_size": batch, "seconds": seconds, "images_per_second": rate}
        yield {"failed": failed, "measured": [about | held.about]}
        return


def digest(small: bool) -> Iterator[Found]:
    """Some steps from a seed: what they take, and a digest of the parameters after them."""
    step = MeasuredStep(config(small, "clip", 16 if small else DIGEST_BATCH))
    seconds = step.round(DIGEST_STEPS).seconds
    bits = hashlib.sha256()
    for array in jax.tree.leaves(jax.device_get(step.state.params)):
        bits.update(array.tobytes())
    yield {"seconds": seconds, "digest": bits.hexdigest(), "flags": os.environ.get("XLA_FLAGS", "")}


def losses(small: bool) -> Iterator[Found]:
    """The table of `aligngap bench loss`, and milliseconds of open_clip's at the same batches."""
    batches, tile = ((64,), 16) if small else (LOSS_BATCHES, 1024)
    found: Found = {"lines": []}
    for line in loss.table(["clip", "alignclip"], batches, tile, "bfloat16"):
        found["lines"].append(line)
        yield found
    if python := python_of("open_clip"):
        device = "cpu" if small else "cuda"
        call = [python, "-m", "aligngap.benchmarks.peers.loss_open_clip", device]
        done = subprocess.run(
            [*call, str(loss.DIMENSION), *map(str, batches)], capture_output=True, text=True
        )
        if done.returncode:
            raise AligngapError(f"open_clip's loss: {done.stderr.strip().splitlines()[-1:]}")
        yield found | {"open_clip_seconds": json.loads(done.stdout.splitlines()[-1])}


def attention(small: bool) -> Iterator[Found]:
    """Milliseconds of attention with its gradients, by implementation, at the shapes of both
    towers and of attention pooling; cuDNN's is for GPUs alone, and may not take a single query."""
    shapes = {"image": (256, 197, 12, 64), "text": (256, 77, 8, 64), "pooling": (256, 196, 12, 64)}
    found: Found = {}
    for name, shape in shapes.items():
        shape = (4, *shape[1:]) if small else shape
        for implementation in ("xla", "cudnn"):
            if implementation == "cudnn" and jax.default_backend() != "gpu":
                continue
            try:
                took: float | str = 1e3 * _attention(shape, name, implementation)
            except (RuntimeError, ValueError, NotImplementedError) as error:
                took = str(error).splitlines()[0]
            found[f"{name} {implementation}"] = took
            yield found


def _attention(shape: tuple[int, ...], name: str, implementation: Any) -> float:
    keys = jax.random.split(jax.random.key(0), 3)
    inputs = [jax.random.normal(key, shape, jnp.bfloat16) for key in keys]
    if name == "pooling":
        inputs[0] = inputs[0][:, :1]

    def summed(query: Any, key: Any, value: Any) -> Any:
        out = jax.nn.dot_product_attention(
            query, key, value, is_causal=name == "text", implementation=implementation
        )
        return jnp.sum(out.astype(jnp.float32) ** 2)

    function = jax.jit(jax.grad(summed, argnums=(0, 1, 2)))
    return statistics.median(timing.calls(partial(function, *inputs), 10))


def data(small: bool) -> Iterator[Found]:
    """The table of `aligngap bench data` on pictograms, for cores and device at hand."""
    made, images = preset("clip"), 64 if small else 512
    made.batch_size, made.compute_dtype = of_data.BATCH, of_data.DTYPE
    made.model.image.size = 32 if small else 224
    cores = len(os.sched_getaffinity(0))
    found: Found = {"lines": []}
    for line in of_data.table(made, images, [0] if small else [0, cores], "h100"):
        found["lines"].append(line)
        yield found


PARTS = {part.__name__: part for part in (largest, peer, digest, losses, attention, data)}

if __name__ == "__main__":
    function, output, small, *arguments = sys.argv[1:]
    try:
        for found in PARTS[function](bool(int(small)), *arguments):
            atomic.write_json(Path(output), found)
    except AligngapError as error:
        sys.exit(str(error))
