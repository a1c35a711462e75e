"""`aligngap bench loss`: time, memory and arithmetic of an objective, dense against tiled.

Value and gradient with respect to both embeddings and the scale, on one device. FLOP are counted
from the jaxpr, each pass of a loop counted; memory is what the compiled program needs besides its
arguments and results. Time is compared with that of a plain product [B, D]·[D, B] of the same
numbers in the same run: "of product" is the share of its FLOP/s that the objective reaches.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aligngap import flops, objectives
from aligngap.benchmarks import timing
from aligngap.flags import positive
from aligngap.objectives.pairwise import products
from aligngap.presets import preset
from aligngap.unit import unit_rows_numpy

DIMENSION, SEMANTICS = 512, 384  # Of ViT-B's embeddings, and of all-MiniLM-L6-v2's.
LARGEST_DENSE = 2**33  # Bytes of temporaries beyond which the dense form is not run.
SHORTEST = 0.5  # Seconds that a measurement lasts at least.
COLUMNS = "{:<18} {:>6}  {:<5} {:>8} {:>9} {:>9} {:>8} {:>10}"


class Case(NamedTuple):
    """One line of the table."""

    name: str
    batch: int
    tile: int  # 0: dense
    dtype: str


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which objectives, at which sizes."""
    parser.add_argument("--preset", nargs="+", default=["clip", "alignclip"], metavar="NAME")
    parser.add_argument("--batch", nargs="+", type=positive, default=[256, 1024, 4096], metavar="B")
    parser.add_argument("--tile", type=positive, default=1024, help="rows a tile")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")


def run(arguments: argparse.Namespace) -> None:
    """Prints the table."""
    for line in table(arguments.preset, arguments.batch, arguments.tile, arguments.dtype):
        print(line, flush=True)


def table(names: Sequence[str], batches: Sequence[int], tile: int, dtype: str) -> Iterator[str]:
    """The table's lines, each as soon as it is measured."""
    yield f"{jax.devices()[0].device_kind}, {dtype}, D {DIMENSION}, S {SEMANTICS}, tile {tile}"
    yield COLUMNS.format("objective", "B", "form", "FLOP/B²D", "MiB", "ms", "TFLOP/s", "of product")
    for batch in batches:
        product = _product_speed(batch, dtype)
        yield COLUMNS.format("product", batch, "", "2.0", "", "", f"{product:.3f}", "")
        for name in names:
            for width in (0, tile):
                yield _line(Case(name, batch, width, dtype), product)


def _line(case: Case, product: float) -> str:
    function, arguments = _objective(case)
    compiled = jax.jit(function).lower(*arguments).compile()
    work = flops.count(function, *arguments)
    analysis = compiled.memory_analysis()
    memory = analysis.temp_size_in_bytes if analysis else 0
    measured = ["too large to run", "", ""]
    if case.tile or memory <= LARGEST_DENSE:
        seconds = _seconds(compiled, _inputs(arguments))
        speed = work / seconds / 1e12
        measured = [f"{1e3 * seconds:.1f}", f"{speed:.3f}", f"{speed / product:.0%}"]
    form = "tiled" if case.tile else "dense"
    costs = f"{work / case.batch**2 / DIMENSION:.1f}", f"{memory / 2**20:.1f}"
    return COLUMNS.format(case.name, case.batch, form, *costs, *measured)


def _objective(case: Case) -> tuple[Callable[..., Any], tuple[jax.ShapeDtypeStruct, ...]]:
    """(value and gradient, its abstract arguments)."""
    config = preset(case.name)
    config.objective.tile = case.tile
    total = objectives.total(config)

    def loss(image: Any, text: Any, scale: Any, bias: Any, semantics: Any) -> Any:
        return total(image, text, scale, bias, semantics, None)[0]

    def rows(width: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((case.batch, width), jnp.dtype(case.dtype))

    number = jax.ShapeDtypeStruct((), jnp.float32)
    arguments = rows(DIMENSION), rows(DIMENSION), number, number, rows(SEMANTICS)
    return jax.value_and_grad(loss, argnums=(0, 1, 2, 3)), arguments


def _inputs(arguments: Sequence[jax.ShapeDtypeStruct]) -> list[jax.Array]:
    """Random rows of length 1; the scale that CLIP starts with, SigLIP's bias."""
    random, numbers = np.random.default_rng(0), iter((1 / 0.07, -10.0))
    inputs = []
    for shaped in arguments:
        if not shaped.shape:
            inputs.append(jnp.asarray(next(numbers), shaped.dtype))
            continue
        rows = random.normal(size=shaped.shape).astype(np.float32)
        inputs.append(jnp.asarray(unit_rows_numpy(rows), shaped.dtype))
    return inputs


def _product_speed(batch: int, dtype: str) -> float:
    """TFLOP/s of [B, D]·[D, B], accumulated in float32 and written in the inputs' dtype."""
    shaped = jax.ShapeDtypeStruct((batch, DIMENSION), jnp.dtype(dtype))
    inputs = _inputs([shaped, shaped])
    product = jax.jit(lambda a, b: products(a, b).astype(dtype)).lower(*inputs).compile()
    return 2 * batch**2 * DIMENSION / _seconds(product, inputs) / 1e12


def _seconds(function: Callable[..., Any], inputs: Sequence[Any]) -> float:
    """Median of as many calls as fill SHORTEST, at least five."""
    return statistics.median(timing.calls(partial(function, *inputs), 5, SHORTEST))
