"""The parts of `benchmarks/on_gpu.py`, each a process:

    python -m aligngap.benchmarks.gpu_parts FUNCTION OUTPUT SMALL [ARGUMENT]

A part yields what it has found so far, which is written to OUTPUT at once.
"""

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
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
from aligngap.models.transformer import Transformer
from aligngap.presets import preset
from aligngap.training import run

Found = dict[str, Any]
ROUNDS, IMAGES, LEAST_STEPS = 3, 6144, 4  # A round takes so many images, and no fewer steps.
MOST = 4096
PEER_BATCHES = (512, 256)  # The largest that has room counts.
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


def steps(small: bool, *variants: str) -> Iterator[Found]:
    """Images a second and MFU of each variant, PRESET:REMAT:BATCH, then `:scan`, `:packed` or
    nothing."""
    found: Found = {"measured": [], "failed": []}
    for variant in variants:
        try:
            found["measured"].append({"variant": variant, **_speed(small, *variant.split(":"))})
        except jax.errors.JaxRuntimeError as error:
            found["failed"].append(f"{variant}: {str(error).splitlines()[0]}")
        yield found


def _speed(small: bool, name: str, remat: str, batch: str, *besides: str) -> Found:
    made = config(small, name, 16 if small else int(batch))
    made.model.remat, made.model.scan = remat, "scan" in besides
    made.data.pack_captions = "packed" in besides
    step = MeasuredStep(made)
    seconds = [step.round(_steps(small, made.batch_size)).seconds for _ in range(ROUNDS)]
    middle, peak = statistics.median(seconds), devices.peak(made.compute_dtype)
    work = sum(step.model_flop().values())
    return {
        "images_per_second": made.batch_size / middle,
        "mfu": work / middle / peak if peak else None,
        "seconds": seconds,
        "compiling": step.compiling,
        "memory": step.memory()._asdict(),
        "device": jax.devices()[0].device_kind,
    }


def _steps(small: bool, batch: int) -> int:
    return LEAST_STEPS if small else max(IMAGES // batch, LEAST_STEPS)


def largest(small: bool, name: str) -> Iterator[Found]:
    """The largest batch by remat policy, from the memory figures of compiled steps."""
    most, probes = (128, (32, 64)) if small else (MOST, fitting.PROBES)
    limit = fitting.limit() if not small else 60e6
    batches: dict[str, int] = {}
    for policy in configs.REMAT:
        made = config(small, name)
        made.model.remat = policy
        batches[str(policy)] = fitting.largest_batch(made, limit, most, probes)
        yield {"largest_batch": batches}
        if batches[str(policy)] == most:
            return


def peer(small: bool, name: str) -> Iterator[Found]:
    """Images a second of another program alone on the device, at the largest batch it has room for;
    JAX makes its weights on the host."""
    python, device, failed = _python(name), _torch_device(small), []
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
            seconds = [held.round(_steps(small, batch)) for _ in range(ROUNDS)]
            held.end()
        rate = batch / statistics.median(seconds)
        about = {"batch_size": batch, "seconds": seconds, "images_per_second": rate}
        yield {"failed": failed, "measured": [about | held.about]}
        return


def _python(name: str) -> str:
    if python := python_of(name):
        return python
    raise AligngapError(f"no {name} here: {step_peers.PROGRAMS[name].install}")


def _torch_device(small: bool) -> str:
    return "cpu" if small else "cuda"


def digest(small: bool) -> Iterator[Found]:
    """Some steps from a seed: what they take, and a digest of the parameters after them. Layers
    are scanned, which compiles in a quarter of the time."""
    made = config(small, "clip", 16 if small else DIGEST_BATCH)
    made.model.scan = True
    step = MeasuredStep(made)
    seconds = step.round(DIGEST_STEPS).seconds
    bits = hashlib.sha256()
    for array in jax.tree.leaves(jax.device_get(step.state.params)):
        bits.update(array.tobytes())
    yield {"seconds": seconds, "digest": bits.hexdigest(), "flags": os.environ.get("XLA_FLAGS", "")}


def losses(small: bool) -> Iterator[Found]:
    """The table of `aligngap bench loss`."""
    batches, tile = ((64,), 16) if small else (LOSS_BATCHES, 4096)
    found: Found = {"lines": []}
    for line in loss.table(["clip", "alignclip"], batches, tile, "bfloat16"):
        found["lines"].append(line)
        yield found


def peer_losses(small: bool) -> Iterator[Found]:
    """Seconds of open_clip's loss at the same batches, alone on the device: JAX takes nearly all of
    its memory at once."""
    name, batches, device = "open_clip", (64,) if small else LOSS_BATCHES, _torch_device(small)
    call = [_python(name), "-m", "aligngap.benchmarks.peers.loss_open_clip", device]
    done = subprocess.run(
        [*call, str(loss.DIMENSION), *map(str, batches)], capture_output=True, text=True
    )
    if done.returncode:
        raise AligngapError(f"open_clip's loss: {done.stderr.strip().splitlines()[-1:]}")
    yield {"seconds": json.loads(done.stdout.splitlines()[-1])}


def attention(small: bool) -> Iterator[Found]:
    """Milliseconds of attention with its gradients at the shapes of both towers: XLA's, and cuDNN's
    on a GPU, at the even length that it takes; and how far both are from float32's, relative."""
    shapes = {"image": (256, 197, 12, 64), "text": (256, 77, 8, 64)}
    found: Found = {}
    for name, shape in shapes.items():
        shape = (4, *shape[1:]) if small else shape
        exact = _gradients(shape, name, "xla", jnp.float32)()
        for way in ("xla", "auto"):
            if way == "auto" and jax.default_backend() != "gpu":
                continue
            function = _gradients(shape, name, way, jnp.bfloat16)
            off = jnp.linalg.norm(function() - exact) / jnp.linalg.norm(exact)
            found[f"{name} {way}"] = 1e3 * statistics.median(timing.calls(function, 10))
            found[f"{name} {way} error"] = float(off)
            yield found


def _gradients(shape: tuple[int, ...], name: str, way: str, dtype: Any) -> Callable[[], Array]:
    """A call that gives the gradient of a weighted sum of a one-layer transformer's output, as a
    vector: of the parameters, and of what enters it."""
    batch, length, heads, width = shape[0], shape[1], shape[2], shape[2] * shape[3]
    module = Transformer(width, 1, heads, 4.0, "gelu", 1e-5, way, dtype, "none", False)
    keys = jax.random.split(jax.random.key(0), 3)
    x, weights = (jax.random.normal(key, (batch, length, width)) for key in keys[:2])
    causal = name == "text"
    params = nn.unbox(jax.jit(lambda key: module.init(key, x[:1].astype(dtype), causal))(keys[2]))

    @jax.jit
    def gradients(params: Any, x: Array) -> Array:
        def summed(params: Any, x: Array) -> Array:
            return jnp.sum(
                module.apply(params, x.astype(dtype), causal).astype(jnp.float32) * weights
            )

        found = jax.grad(summed, argnums=(0, 1))(params, x)
        return jnp.concatenate([one.ravel() for one in jax.tree.leaves(found)])

    precision = "highest" if dtype == jnp.float32 else None

    def call() -> Array:
        with jax.default_matmul_precision(precision):
            return gradients(params, x)

    return call


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


PARTS: dict[str, Callable[..., Iterator[Found]]] = {
    part.__name__: part
    for part in (steps, largest, peer, digest, losses, peer_losses, attention, data)
}

if __name__ == "__main__":
    function, output, small, *arguments = sys.argv[1:]
    if not int(small) and not os.environ.get("JAX_PLATFORMS") and jax.default_backend() != "gpu":
        sys.exit(f"JAX has found no GPU, and would compute on {jax.devices()[0]}")
    try:
        for found in PARTS[function](bool(int(small)), *arguments):
            atomic.write_json(Path(output), found)
    except AligngapError as error:
        sys.exit(str(error))
