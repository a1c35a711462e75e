"""`aligngap bench step`: what a training step of a config takes on the devices at hand.

The step is the one that training compiles, one in flight as there, on random pixels and captions or
with --data on rows of the config's corpus. FLOP are those that the model needs (formulas of
`training.model_flops`) and, beside them, those that the hardware does (counted in the jaxpr: what
is computed again counts again). MFU is the first over the devices' known peak; where that is not
known, over a product of matrices on each, measured in the same rounds, and the line says so.

--peers adds other programs that train the same model: `benchmarks/step_peers.py`.
"""

import argparse
import os
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from aligngap import atomic, devices, flops, xla_flags
from aligngap import config as configs
from aligngap.benchmarks import step_parts, timing
from aligngap.benchmarks.measured_step import MeasuredStep, Round
from aligngap.benchmarks.step_peers import PROGRAMS, SideBySide
from aligngap.data import corpora, pipeline, records, tokenizers
from aligngap.data.records import Batch
from aligngap.errors import UsageError
from aligngap.flags import positive
from aligngap.parallel import mesh as meshes
from aligngap.training import frozen
from aligngap.training.step import make_step

OVERRIDES = True
SIDE = 2048  # Of the matrices whose product on each device stands for a peak that is not known.
PART = "{:<18} {:>10} {:>7} {:>10} {:>8} {:>6}"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which config, for how long, beside whom; where the figures and the profile go."""
    parser.add_argument(
        "--config", required=True, help="FILE[:preset]; then --config.key=value ..."
    )
    parser.add_argument("--steps", type=positive, default=5, help="of a round")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--data", action="store_true", help="rows of the corpus, not random ones")
    parser.add_argument("--trace", metavar="DIR", help="write a profile of a round there")
    parser.add_argument("--output", metavar="FILE", help="write the figures there as JSON too")
    parser.add_argument(
        "--peers", nargs="+", choices=PROGRAMS, default=[], metavar="NAME",
        help=f"measured in turn with ours: {', '.join(PROGRAMS)}",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Prints the lines."""
    config = configs.load(arguments.config, arguments.overrides)
    xla_flags.give(os.environ, config.deterministic)
    if arguments.peers and arguments.data:
        raise UsageError("--peers are compared on one batch in memory: give no --data")
    if arguments.output:
        atomic.expect_writable(Path(arguments.output))
    if arguments.peers:  # They need memory of the same device.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    step = MeasuredStep(config, _rows(config) if arguments.data else None)
    with SideBySide(step, arguments.peers) as beside:
        found = measure(step, arguments.rounds, arguments.steps, beside)
        found["peers"] = beside.figures()
        for line in (*lines(found), *beside.lines()):
            print(line, flush=True)
    found["parts"] = step_parts.seconds(step)
    for line in part_lines(found):
        print(line, flush=True)
    if arguments.trace:
        with jax.profiler.trace(arguments.trace):
            step.round(arguments.steps)
        print(f"Profile in {arguments.trace}: xprof or TensorBoard's profile plugin shows it")
    if arguments.output:
        atomic.write_json(Path(arguments.output), found)


def measure(step: MeasuredStep, rounds: int, steps: int, beside: SideBySide) -> dict[str, Any]:
    """The figures by name: seconds, bytes, FLOP, shares; of rounds, lists."""
    config = step.config
    peak = devices.peak(config.compute_dtype)
    took: list[Round] = []
    products: list[float] = []
    for _ in range(rounds):
        took.append(step.round(steps))
        beside.turn(steps)
        products += [] if peak else [_product_rate(step)]
    useful = step.model_flop()
    seconds = statistics.median(round.seconds for round in took)
    rate = sum(useful.values()) / seconds
    return {
        "config": config.name,
        "parameters": sum(x.size for x in jax.tree.leaves(step.state.params)),
        "batch_size": config.batch_size,
        "compute_dtype": config.compute_dtype,
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "cores": len(os.sched_getaffinity(0)),
        "jax": jax.__version__,
        "lowering": step.lowering,
        "compiling": step.compiling,
        "steps": steps,
        "seconds": [round.seconds for round in took],
        "waited": statistics.median(round.waited for round in took),
        "images_per_second": config.batch_size / seconds,
        "model_flop": useful,
        "hardware_flop": hardware_flop(step),
        "rate": rate,
        "peak": peak or statistics.median(products),
        "peak_is_known": peak is not None,
        "mfu": rate / (peak or statistics.median(products)),
        "memory": step.memory()._asdict(),
    }


def hardware_flop(step: MeasuredStep) -> int:
    """As the step's jaxpr has it on one device, over the whole batch."""
    made, config = step.learner, step.config
    function = make_step(config, made.module, made.tx)
    batch = step.placed(next(step.batches))
    shapes = {k: jax.ShapeDtypeStruct(x.shape, x.dtype) for k, x in batch.items()}
    inputs: tuple[Any, ...] = nn.unbox(made.abstract), shapes
    if made.encoder is not None:
        function = frozen.with_semantics(function, made.encoder.module, config.microbatches)
        inputs = (made.encoder.params, *inputs)
    return flops.count(function, *inputs)


def lines(found: dict[str, Any]) -> Iterator[str]:
    """What is printed of `measure`'s figures."""
    work, seconds = sum(found["model_flop"].values()), found["seconds"]
    middle, memory = statistics.median(seconds), found["memory"]
    yield (
        f"{found['config']}, {found['parameters']:,} parameters, batch {found['batch_size']:,}, "
        f"{found['compute_dtype']}; {found['devices']} × {found['device']}, "
        f"{found['cores']} cores, jax {found['jax']}"
    )
    yield (
        f"compile      {found['lowering'] + found['compiling']:.1f} s "
        f"(tracing and lowering {found['lowering']:.1f}, XLA {found['compiling']:.1f})"
    )
    yield (
        f"step         {1e3 * middle:,.1f} ms ({1e3 * min(seconds):,.1f} to "
        f"{1e3 * max(seconds):,.1f}; {len(seconds)} rounds of {found['steps']} steps)"
    )
    yield f"images/s     {found['images_per_second']:,.1f}"
    yield (
        f"model FLOP   {work:.4g} a step ({work / found['batch_size'] / 1e9:.2f} GFLOP a pair); "
        f"hardware FLOP {found['hardware_flop']:.4g}"
    )
    yield f"MFU          {found['mfu']:.1%} of {_peak(found)}"
    yield (
        f"memory       temporary {_gib(memory['temporary'])}, state and batch "
        f"{_gib(memory['arguments'])} a device as compiled"
        + (f"; peak {_gib(memory['peak'])}" if memory["peak"] else "")
    )
    yield f"input        {1e3 * found['waited']:,.2f} ms of a step waited for the next batch"


def part_lines(found: dict[str, Any]) -> Iterator[str]:
    """A table of the parts, by themselves."""
    middle = statistics.median(found["seconds"])
    yield PART.format("part, by itself", "ms", "step", "TFLOP", "TFLOP/s", "MFU")
    for name, took in found["parts"].items():
        own = found["model_flop"].get(name, 0.0)
        rate = (f"{own / 1e12:.4f}", f"{own / took / 1e12:.3f}") if own else ("", "")
        share = f"{own / took / found['peak']:.0%}" if own else ""
        yield PART.format(name, f"{1e3 * took:,.1f}", f"{took / middle:.0%}", *rate, share)
    whole = sum(found["parts"].values())
    yield PART.format("all of them", f"{1e3 * whole:,.1f}", f"{whole / middle:.0%}", "", "", "")


def _peak(found: dict[str, Any]) -> str:
    rate = f"{found['peak'] / 1e12:,.4g} TFLOP/s"
    if found["peak_is_known"]:
        return f"the devices' peak, {rate}"
    return f"{rate}, which a product of {SIDE:,}² matrices on each device reached in these rounds"


def _gib(size: float) -> str:
    return f"{size / 2**30:,.2f} GiB"


def _product_rate(step: MeasuredStep) -> float:
    """FLOP/s of all devices together, the better of two."""
    return jax.device_count() * 2 * SIDE**3 / min(timing.calls(product(step), 2))


def product(step: MeasuredStep) -> Callable[[], jax.Array]:
    """A call: one large product on each device, at once, since those of a CPU share its cores."""
    every, dtype = NamedSharding(step.mesh, PartitionSpec(meshes.AXES)), step.config.compute_dtype
    rows = jnp.full((jax.device_count() * SIDE, SIDE), 1 / SIDE, dtype, device=every)
    matrix = jnp.full((SIDE, SIDE), 1 / SIDE, dtype, device=meshes.replicated(step.mesh))
    return partial(jax.jit(jnp.matmul, out_shardings=every), rows, matrix)


def _rows(config: ConfigDict) -> Iterator[Batch]:
    """Batches of the training split, as a run reads them."""
    source = corpora.open_train(config)
    pipeline.check(config, source)
    tokenizer = tokenizers.make(config, records.texts_of(source))
    return pipeline.batches(config, source, tokenizer)
