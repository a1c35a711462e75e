"""Reductions over a batch that lies on several devices: none of them ever gathers it.

Each device keeps its own rows, and the columns go round. At every hop a device works on the block
that visits it while that block is already on its way to the next device. What belongs to the
visiting columns travels behind them and is sent home at the end. Where rows and columns are one
side, half a round meets every pair of devices.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from aligngap.objectives import blocks
from aligngap.objectives.blocks import Gradients, KnownSides, Pass
from aligngap.objectives.pairwise import Scalars, Side
from aligngap.parallel import axes


def forward(one: Pass, rows: Side, columns: Side, scalars: Scalars) -> Any:
    """Final (row states, column states) of this device's rows and columns."""
    crossing = _crossing(one)
    nobody = blocks.empty(crossing, len(columns.ids), columns=True)

    def meet(state: Any, visiting: Side, upper: Any) -> tuple[Any, Any]:
        return blocks.forward(crossing, rows, visiting, scalars, (state, nobody), upper)

    def merge(a: Any, b: Any) -> Any:
        return blocks.merge(crossing, a, b)

    start = blocks.empty_states(one, rows, columns)
    kept, at_home = blocks.forward(one, rows, columns, scalars, start)
    if one.devices == 1:
        return kept, at_home
    travelling = nobody if one.own else at_home
    kept, travelled = _round(one, kept, travelling, columns, meet, merge)
    return (merge(kept, travelled), at_home) if one.own else (kept, travelled)


def backward(
    one: Pass,
    rows: Side,
    columns: Side,
    scalars: Scalars,
    known: KnownSides,
    gradients: Gradients,
) -> Gradients:
    """`gradients` with this matrix's share; of the scalars, this device's part only."""
    crossing = _crossing(one)

    def meet(kept: Any, visiting: Any, upper: Any) -> tuple[Any, Any]:
        block, known_of_block = visiting
        start = Gradients(kept[0], jnp.zeros_like(gradients.rows), kept[1])
        sides = (known[0], known_of_block)
        found = blocks.backward(crossing, rows, block, scalars, sides, start, upper)
        return (found.rows, found.scalars), found.columns

    first = blocks.backward(one, rows, columns, scalars, known, gradients)
    if one.devices == 1:
        return first
    travelling = jnp.zeros_like(first.rows) if one.own else first.columns
    kept = (first.rows, first.scalars)
    kept, home = _round(one, kept, travelling, (columns, known[1]), meet, jnp.add)
    if one.own:
        return Gradients(kept[0] + home, None, kept[1])
    return Gradients(kept[0], home, kept[1])


def _crossing(one: Pass) -> Pass:
    """How two different blocks of one side meet: as rows and columns, both reduced."""
    if not one.own:
        return one
    both = tuple(replace(reduction, columns=True) for reduction in one.reductions)
    return one._replace(reductions=both, own=False)


def _round(
    one: Pass,
    kept: Any,
    travelling: Any,
    visitor: Any,
    meet: Callable[[Any, Any, Any], tuple[Any, Any]],
    merge: Callable[[Any, Any], Any],
) -> tuple[Any, Any]:
    """Sends `visitor` round: (what each device keeps, what belongs to its own columns).

    `meet`(kept, visiting, upper) gives what is kept and what is new to the visiting columns.
    """
    hops = one.devices // 2 if one.own else one.devices - 1
    # At half a round of an even number, two devices see the same pairs: each pair counts once.
    twice = one.own and one.devices % 2 == 0

    def hop(carry: Any, number: Any) -> tuple[Any, None]:
        kept, travelling, visiting = carry
        coming, arrived = _send(one, visiting, -1), _send(one, travelling, -1)
        kept, new = meet(kept, visiting, (number == hops) & twice)
        return (kept, merge(arrived, new), coming), None

    start = (kept, travelling, _send(one, visitor, -1))
    (kept, travelled, _), _ = lax.scan(hop, start, jnp.arange(1, hops + 1))
    return kept, _send(one, travelled, hops)


def _send(one: Pass, tree: Any, distance: int) -> Any:
    """Every array to the device that many places on, around the ring."""
    places = [(device, (device + distance) % one.devices) for device in range(one.devices)]
    return jax.tree.map(lambda x: lax.ppermute(x, axes.of_batch(), places), tree)
