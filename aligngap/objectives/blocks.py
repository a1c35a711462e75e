"""Reductions over one block of rows × columns, tile by tile: nothing of the block's size is held.

`forward` folds the block's tiles into the running state of each row and column. `backward`
computes each tile again and adds its share to the gradients of both sides. Where the last tile
would pass the end it starts earlier, and the rows that it sees again are masked: no array is
copied to pad it. A tile has A rows and B columns.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from aligngap.objectives.pairwise import (
    Reduced,
    Reduction,
    Scalars,
    Side,
    Values,
    contract,
    cosines,
    distinct,
    negatives,
)


class Pass(NamedTuple):
    """One matrix: what does not change from block to block."""

    reductions: tuple[Reduction, ...]
    tile: int
    # Rows and columns are one side: each of its pairs is visited once, and counts for both.
    own: bool
    devices: int


class Known(NamedTuple):
    """A reduction's results of one side, [N] each, and the loss's derivative with respect to
    them."""

    results: Any
    cotangents: Any


KnownSides = tuple[tuple[Known, ...], tuple[Known | None, ...]]  # Of the rows, of the columns.


class Gradients(NamedTuple):
    """Of the loss; `columns` is None where rows and columns are one side."""

    rows: Float[Array, "N D"]
    columns: Float[Array, "M D"] | None
    scalars: Scalars


def empty(one: Pass, count: int, *, columns: bool) -> tuple[Any, ...]:
    """Each reduction's state before any pair; None for columns that are not reduced."""
    return tuple(
        reduction.fold.empty(count) if reduction.columns or not columns else None
        for reduction in one.reductions
    )


def empty_states(one: Pass, rows: Side, columns: Side) -> tuple[Any, Any]:
    """Of both sides; all of it None on the side of the columns where that is the rows' own."""
    if one.own:
        return empty(one, len(rows.ids), columns=False), (None,) * len(one.reductions)
    return empty(one, len(rows.ids), columns=False), empty(one, len(columns.ids), columns=True)


def merge(one: Pass, a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
    """Two states of the same rows, or columns, as one."""
    return tuple(
        None if x is None else reduction.fold.merge(x, y)
        for reduction, x, y in zip(one.reductions, a, b, strict=True)
    )


def results(one: Pass, states: tuple[Any, Any]) -> tuple[Reduced, ...]:
    """What each reduction found."""
    return tuple(
        Reduced(
            reduction.fold.result(row), None if column is None else reduction.fold.result(column)
        )
        for reduction, row, column in zip(one.reductions, *states, strict=True)
    )


def forward(
    one: Pass, rows: Side, columns: Side, scalars: Scalars, state: Any, upper: Any = False
) -> Any:
    """(row states, column states) with this block's pairs folded in.

    `upper`, which may be traced, keeps only the pairs whose row comes before their column.
    """

    def visit(state: Any, place: Any) -> tuple[Any, None]:
        a, b = _take(rows, place[0], one.tile), _take(columns, place[1], one.tile)
        pairs, (between, meaning) = _visible(a, b, one.own | upper), cosines(a, b)
        updated = []
        for reduction, row, column in zip(one.reductions, *state, strict=True):
            values = reduction.values(between, meaning, scalars)
            mask = negatives(reduction, a, b, pairs)
            row = _fold(reduction, row, values, mask, 1, place[0], one.tile)
            if one.own:
                row = _fold(reduction, row, values, mask, 0, place[1], one.tile)
            elif reduction.columns:
                column = _fold(reduction, column, values, mask, 0, place[1], one.tile)
            updated.append((row, column))
        return tuple(zip(*updated, strict=True)), None

    return lax.scan(visit, state, _places(one, rows, columns))[0]


def backward(
    one: Pass,
    rows: Side,
    columns: Side,
    scalars: Scalars,
    known: KnownSides,
    gradients: Gradients,
    upper: Any = False,
) -> Gradients:
    """The gradients with this block's share added; `known` of the rows and of the columns."""

    def visit(gradients: Gradients, place: Any) -> tuple[Gradients, None]:
        a, b = _take(rows, place[0], one.tile), _take(columns, place[1], one.tile)
        of_a = [_take(reduction, place[0], one.tile) for reduction in known[0]]
        of_b = [reduction and _take(reduction, place[1], one.tile) for reduction in known[1]]
        weights_AxB, of_scalars = _weigh(one, a, b, scalars, (of_a, of_b), upper)
        weights_AxB = weights_AxB.astype(a.embeddings.dtype)
        to_rows_AxD = contract("ab,bd->ad", weights_AxB, b.embeddings)
        to_columns_BxD = contract("ab,ad->bd", weights_AxB, a.embeddings)
        of_scalars = jax.tree.map(jnp.add, gradients.scalars, of_scalars)
        of_rows = _add(gradients.rows, to_rows_AxD, place[0], one.tile)
        if gradients.columns is None:
            return Gradients(
                _add(of_rows, to_columns_BxD, place[1], one.tile), None, of_scalars
            ), None
        of_columns = _add(gradients.columns, to_columns_BxD, place[1], one.tile)
        return Gradients(of_rows, of_columns, of_scalars), None

    return lax.scan(visit, gradients, _places(one, rows, columns))[0]


def _weigh(
    one: Pass,
    a: Side,
    b: Side,
    scalars: Scalars,
    known: tuple[list[Known], list[Known | None]],
    upper: Any,
) -> tuple[Float[Array, "A B"], Scalars]:
    """A tile's derivatives of the loss with respect to its cosines, and to the scalars."""
    pairs_AxB, (cosines_AxB, meaning_AxB) = _visible(a, b, one.own | upper), cosines(a, b)
    weights_AxB, of_scalars = jnp.zeros_like(cosines_AxB), jax.tree.map(jnp.zeros_like, scalars)
    for reduction, row, column in zip(one.reductions, *known, strict=True):

        def values_of(x: Array, s: Scalars, values: Values = reduction.values) -> Any:
            return values(x, meaning_AxB, s)

        values_AxB, pull = jax.vjp(values_of, cosines_AxB, scalars)
        pulled = reduction.fold.pulled
        of_values_AxB = pulled(values_AxB, *jax.tree.map(lambda x: x[:, None], tuple(row)))
        if column is not None:
            of_columns = pulled(values_AxB, *jax.tree.map(lambda x: x[None, :], tuple(column)))
            of_values_AxB = jax.tree.map(jnp.add, of_values_AxB, of_columns)
        mask_AxB = negatives(reduction, a, b, pairs_AxB)
        masked = jax.tree.map(lambda x, m=mask_AxB: jnp.where(m, x, 0.0), of_values_AxB)
        share_AxB, share_of_scalars = pull(masked)
        weights_AxB += share_AxB
        of_scalars = jax.tree.map(jnp.add, of_scalars, share_of_scalars)
    return weights_AxB, of_scalars


def _places(one: Pass, rows: Side, columns: Side) -> Int[np.ndarray, "tiles 2"]:
    """(row tile, column tile) of every tile that is visited."""
    counts = [-(-len(side.ids) // one.tile) for side in (rows, columns)]
    places = np.indices(counts).reshape(2, -1).T.astype(np.int32)
    return places[places[:, 0] <= places[:, 1]] if one.own else places


def _start(number: Array, tile: int, length: int) -> Array:
    return jnp.minimum(number * tile, length - tile)


def _take(side: Any, number: Array, tile: int) -> Any:
    """One tile of every array of a side; rows that an earlier tile had get the id -1."""
    length = jax.tree.leaves(side)[0].shape[0]
    tile = min(tile, length)
    start = _start(number, tile, length)
    part = jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, start, tile), side)
    if not isinstance(side, Side):
        return part
    fresh = start + jnp.arange(tile) >= number * tile
    return part._replace(ids=jnp.where(fresh, part.ids, -1))


def _visible(a: Side, b: Side, upper: Any) -> Array:
    before = a.ids[:, None] < b.ids[None, :]
    return distinct(a, b) & (before | ~jnp.asarray(upper))


def _fold(
    reduction: Reduction,
    state: Any,
    values: Array,
    mask: Array,
    axis: int,
    number: Array,
    tile: int,
) -> Any:
    """`state` with a tile's values folded into the part that its rows (axis 1) or columns own."""
    part = reduction.fold.add(_take(state, number, tile), values, mask, axis)
    return jax.tree.map(lambda whole, new: _put(whole, new, number, tile), state, part)


def _put(whole: Array, part: Array, number: Array, tile: int) -> Array:
    return lax.dynamic_update_slice_in_dim(
        whole, part, _start(number, len(part), len(whole)), axis=0
    )


def _add(whole: Array, part: Array, number: Array, tile: int) -> Array:
    return _put(whole, _take(whole, number, tile) + part, number, tile)
