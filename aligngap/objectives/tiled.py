"""The memory-linear form of every reduction: tiles on one device, a ring of them on a mesh.

Neither the forward nor the backward pass holds a [B, B] array. The derivatives are written by
hand: the backward pass computes each tile's cosines again, weighs them with what the forward pass
found, and adds the weights' products with the embeddings to one gradient of each modality.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from aligngap.objectives import blocks, ring
from aligngap.objectives.blocks import Gradients, Known, KnownSides, Pass
from aligngap.objectives.pairwise import (
    Matrix,
    Reduced,
    Reductions,
    Scalars,
    Side,
    Sides,
    paired,
    sides_of,
)
from aligngap.parallel import axes


class Plan(NamedTuple):
    """All that is static."""

    matrices: tuple[Matrix, ...]
    tile: int
    devices: int


def reduce(matrices: tuple[Matrix, ...], tile: int, sides: Sides, scalars: Scalars) -> Reductions:
    """All reductions of all matrices.

    Under `jax.set_mesh` the batch is the global one; one that the devices do not divide is padded.
    """
    batch, devices = len(sides.image.ids), _devices()
    padded = Sides(*(rows and _pad(rows, -batch % devices) for rows in sides))
    found = _reduce(Plan(matrices, tile, devices), padded, scalars)
    return jax.tree.map(lambda x: x[:batch], found)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _reduce(plan: Plan, sides: Sides, scalars: Scalars) -> Reductions:
    return _forward(plan, sides, scalars)[0]


def _forward(plan: Plan, sides: Sides, scalars: Scalars) -> tuple[Reductions, Any]:
    batch, whole = PartitionSpec(axes.of_batch()), PartitionSpec()
    function = _on_devices(plan, _forward_part, (batch, whole), batch)
    found = function(sides, scalars)
    return found, (sides, scalars, found)


def _backward(plan: Plan, saved: Any, cotangents: Reductions) -> tuple[Sides, Scalars]:
    sides, scalars, found = saved
    batch, whole = PartitionSpec(axes.of_batch()), PartitionSpec()
    function = _on_devices(plan, _backward_part, (batch, whole, batch, batch), (batch, whole))
    gradients, of_scalars = function(sides, scalars, found, cotangents)
    dtype = sides.image.embeddings.dtype
    # None is no gradient.
    rows = [x if x is None else Side(x.astype(dtype), None, None, None) for x in gradients]  # type: ignore[arg-type]
    return Sides(*rows), of_scalars


_reduce.defvjp(_forward, _backward)


def _forward_part(plan: Plan, sides: Sides, scalars: Scalars) -> Reductions:
    """What one device finds for its rows."""
    between = paired(sides.image.embeddings, sides.text.embeddings)
    reduced = []
    for matrix in plan.matrices:
        one = _pass(plan, matrix)
        rows, columns = sides_of(matrix, sides)
        reduced.append(blocks.results(one, ring.forward(one, rows, columns, scalars)))
    return Reductions(between, tuple(reduced))


def _backward_part(
    plan: Plan, sides: Sides, scalars: Scalars, found: Reductions, cotangents: Reductions
) -> tuple[Sides, Scalars]:
    """One device's gradients of its rows, and the sum of all devices' of the scalars."""
    image, text = (rows.embeddings.astype(jnp.float32) for rows in (sides.image, sides.text))
    of = {n: jnp.zeros_like(image) for n, rows in sides._asdict().items() if rows is not None}
    of |= {"image": cotangents.paired[:, None] * text, "text": cotangents.paired[:, None] * image}
    of_scalars = jax.tree.map(jnp.zeros_like, scalars)
    for matrix, results, derivatives in zip(
        plan.matrices, found.reduced, cotangents.reduced, strict=True
    ):
        one = _pass(plan, matrix)
        rows, columns = sides_of(matrix, sides)
        before = Gradients(of[matrix.rows], None if one.own else of[matrix.columns], of_scalars)
        known = _known(one, results, derivatives)
        after = ring.backward(one, rows, columns, scalars, known, before)
        of[matrix.rows], of_scalars = after.rows, after.scalars
        if after.columns is not None:
            of[matrix.columns] = after.columns
    if plan.devices > 1:
        of_scalars = jax.lax.psum(of_scalars, axes.of_batch())
    return Sides(**of), of_scalars


def _pass(plan: Plan, matrix: Matrix) -> Pass:
    return Pass(matrix.reductions, plan.tile, matrix.rows == matrix.columns, plan.devices)


def _known(one: Pass, results: tuple[Reduced, ...], cotangents: tuple[Reduced, ...]) -> KnownSides:
    pairs = list(zip(results, cotangents, strict=True))
    of_rows = tuple(Known(r.rows, c.rows) for r, c in pairs)
    if one.own:
        return of_rows, of_rows
    return of_rows, tuple(
        None if r.columns is None or c.columns is None else Known(r.columns, c.columns)
        for r, c in pairs
    )


def _on_devices(plan: Plan, function: Any, in_specs: Any, out_specs: Any) -> Any:
    part = partial(function, plan)
    if plan.devices == 1:
        return part
    # Varying types cannot be followed through accumulators that start as constants.
    return jax.shard_map(part, in_specs=in_specs, out_specs=out_specs, check_vma=False)


def _devices() -> int:
    """Over how many devices the mesh in force spreads a batch."""
    shape = jax.sharding.get_abstract_mesh().shape
    return math.prod(shape[axis] for axis in axes.of_batch())


def _pad(rows: Side, padding: int) -> Side:
    if not padding:
        return rows
    padded = jax.tree.map(lambda x: jnp.pad(x, [(0, padding)] + [(0, 0)] * (x.ndim - 1)), rows)
    return padded._replace(ids=jnp.pad(rows.ids, (0, padding), constant_values=-1))
