"""What every loss needs of a batch's pairs: inner products, and reductions over negatives.

Negatives of row i are the rows j ≠ i, of the other modality or of its own. A loss names the
reductions that it needs of a matrix of cosines; they are done densely here and, with the same
result but no [B, B] array, in `tiled` and `ring`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Bool, Float, Int


def products(a: Float[Array, "A D"], b: Float[Array, "B D"]) -> Float[Array, "A B"]:
    """a·bᵀ in float32, on the matrix units in the inputs' own dtype."""
    return contract("ad,bd->ab", a, b)


def contract(subscripts: str, a: Array, b: Array) -> Array:
    """einsum with float32 accumulation. A GPU's default TF32 costs 3 of float32's 7 digits."""
    precision = Precision.HIGHEST if a.dtype == jnp.float32 else Precision.DEFAULT
    return jnp.einsum(subscripts, a, b, precision=precision, preferred_element_type=jnp.float32)


def paired(a: Float[Array, "B D"], b: Float[Array, "B D"]) -> Float[Array, "B"]:
    """Inner product of each row of a with the same row of b, in float32."""
    return jnp.sum(a.astype(jnp.float32) * b.astype(jnp.float32), axis=-1)


class Scalars(NamedTuple):
    """Numbers that a logit or a kernel may depend on."""

    scale: Float[Array, ""]
    bias: Float[Array, ""]
    sigma: Float[Array, ""]  # Of a Gaussian kernel.


class Side(NamedTuple):
    """One side of a matrix of cosines: its rows or its columns."""

    embeddings: Float[Array, "N D"]
    semantics: Float[Array, "N S"] | None
    groups: Int[Array, "N"] | None
    ids: Int[Array, "N"]  # Place in the global batch; -1 is padding.


@dataclass(frozen=True)
class LogSumExp:
    """log Σ exp, streamed: (largest value so far, sum of exponentials relative to it)."""

    def empty(self, shape: Any) -> Any:
        return jnp.full(shape, -1e30, jnp.float32), jnp.zeros(shape, jnp.float32)

    def add(self, state: Any, values: Array, mask: Array, axis: int) -> Any:
        largest, total = state
        masked = jnp.where(mask, values, -jnp.inf)
        new = jnp.maximum(largest, masked.max(axis))
        exponentials = jnp.exp(masked - jnp.expand_dims(new, axis))
        return new, total * jnp.exp(largest - new) + exponentials.sum(axis)

    def merge(self, a: Any, b: Any) -> Any:
        largest = jnp.maximum(a[0], b[0])
        return largest, sum(total * jnp.exp(peak - largest) for peak, total in (a, b))

    def result(self, state: Any) -> Array:
        """-inf where there was nothing to add."""
        largest, total = state
        return jnp.where(total == 0, -jnp.inf, largest + jnp.log(total))  # NaN stays NaN.

    def pulled(self, values: Array, result: Array, cotangent: Array) -> Array:
        """The values' cotangents; meaningless where the mask is False."""
        return cotangent * jnp.exp(values - result)

    def dense(self, values: Array, mask: Array, axis: int) -> Array:
        some = mask.any(axis, keepdims=True)  # log 0 would have no derivative.
        whole = jax.nn.logsumexp(values, axis=axis, where=mask | ~some)
        return jnp.where(some.squeeze(axis), whole, -jnp.inf)


@dataclass(frozen=True)
class Sum:
    """Σ over negatives."""

    def empty(self, shape: Any) -> Any:
        return jnp.zeros(shape, jnp.float32)

    def add(self, state: Any, values: Array, mask: Array, axis: int) -> Any:
        return state + self.dense(values, mask, axis)

    def merge(self, a: Any, b: Any) -> Any:
        return a + b

    def result(self, state: Any) -> Array:
        return state

    def pulled(self, values: Array, result: Array, cotangent: Array) -> Array:
        del result
        return cotangent * jnp.ones_like(values)

    def dense(self, values: Array, mask: Array, axis: int) -> Array:
        return jnp.sum(values, axis=axis, where=mask)


@dataclass(frozen=True)
class Expectation:
    """Of values (a, x): (log Σ exp a, Σ softmax(a)·x), streamed; a is constant."""

    def empty(self, shape: Any) -> Any:
        return *LogSumExp().empty(shape), jnp.zeros(shape, jnp.float32)

    def add(self, state: Any, values: Any, mask: Array, axis: int) -> Any:
        (largest, total, weighted), (logits, x) = state, values
        masked = jnp.where(mask, logits, -jnp.inf)
        new = jnp.maximum(largest, masked.max(axis))
        weights, kept = jnp.exp(masked - jnp.expand_dims(new, axis)), jnp.exp(largest - new)
        return new, total * kept + weights.sum(axis), weighted * kept + (weights * x).sum(axis)

    def merge(self, a: Any, b: Any) -> Any:
        largest = jnp.maximum(a[0], b[0])
        kept = [jnp.exp(each[0] - largest) for each in (a, b)]
        return largest, *(a[n] * kept[0] + b[n] * kept[1] for n in (1, 2))

    def result(self, state: Any) -> tuple[Array, Array]:
        """(-inf, 0) where there was nothing to add."""
        largest, total, weighted = state
        return LogSumExp().result((largest, total)), weighted / jnp.where(total == 0, 1.0, total)

    def pulled(self, values: Any, result: Any, cotangent: Any) -> Any:
        logits, _ = values
        return jnp.zeros_like(logits), cotangent[1] * jnp.exp(logits - result[0])

    def dense(self, values: Any, mask: Array, axis: int) -> tuple[Array, Array]:
        logits, x = jax.lax.stop_gradient(values[0]), values[1]
        log_total = LogSumExp().dense(logits, mask, axis)
        weights = jnp.where(mask, jnp.exp(logits - jnp.expand_dims(log_total, axis)), 0.0)
        return log_total, jnp.sum(weights * x, axis=axis)


# One array, or as many as the fold takes.
Values = Callable[[Array, Array | None, Scalars], Any]


@dataclass(frozen=True)
class Reduction:
    """How the values of a row's negatives become one number, and perhaps those of a column's.

    `values`(cosines, cosines of the semantics, scalars) is elementwise, symmetric where the
    matrix is, and comparable with ==, so that two losses share what they both need.
    """

    values: Values
    fold: LogSumExp | Sum | Expectation
    columns: bool = False
    other_groups: bool = False  # Leave out negatives of the same group.
    semantics: bool = False  # `values` reads the cosines of the semantics.


class Matrix(NamedTuple):
    """Whose cosines with whose (a field of Sides each), and what is reduced of them."""

    rows: str
    columns: str
    reductions: tuple[Reduction, ...]


class Sides(NamedTuple):
    """Something of the images, of the texts and, where a loss asks for them, of their centroids and
    of both before they are brought to length 1."""

    image: Any
    text: Any
    centroid: Any = None
    raw_image: Any = None
    raw_text: Any = None


class Reduced(NamedTuple):
    """A reduction's result for each row and, where asked for, each column; [N] each, as many as its
    fold finds."""

    rows: Any
    columns: Any


class Reductions(NamedTuple):
    """The cosine of each pair, and of each matrix what its reductions found."""

    paired: Float[Array, "B"]
    reduced: tuple[tuple[Reduced, ...], ...]


def scaled(cosines: Array, meaning: Array | None, scalars: Scalars) -> Array:
    """The logits s·cos of a softmax."""
    del meaning
    return scalars.scale * cosines


def negatives(
    reduction: Reduction, rows: Side, columns: Side, pairs: Bool[Array, "A B"]
) -> Bool[Array, "A B"]:
    """Which of the `pairs`, no row with itself, are negatives of each other in the reduction."""
    if not reduction.other_groups or rows.groups is None or columns.groups is None:
        return pairs
    return pairs & (rows.groups[:, None] != columns.groups[None, :])


def distinct(rows: Side, columns: Side) -> Bool[Array, "A B"]:
    """True between two different pairs of the batch, neither of them padding."""
    row, column = rows.ids[:, None], columns.ids[None, :]
    return (row != column) & (row >= 0) & (column >= 0)


def cosines(rows: Side, columns: Side) -> tuple[Array, Array | None]:
    """[A, B] of the embeddings and, where both sides have them, of the semantics."""
    meaning = None
    if rows.semantics is not None and columns.semantics is not None:
        meaning = products(rows.semantics, columns.semantics)
    return products(rows.embeddings, columns.embeddings), meaning


def sides_of(matrix: Matrix, sides: Sides) -> tuple[Side, Side]:
    """Its rows and its columns, without what none of its reductions reads."""

    def stripped(rows: Side) -> Side:
        return rows._replace(
            semantics=rows.semantics if any(r.semantics for r in matrix.reductions) else None,
            groups=rows.groups if any(r.other_groups for r in matrix.reductions) else None,
        )

    return stripped(getattr(sides, matrix.rows)), stripped(getattr(sides, matrix.columns))


def dense(matrices: tuple[Matrix, ...], sides: Sides, scalars: Scalars) -> Reductions:
    """All reductions of all matrices, each of which is held whole."""
    between = paired(sides.image.embeddings, sides.text.embeddings)
    return Reductions(between, tuple(_dense(matrix, sides, scalars) for matrix in matrices))


def _dense(matrix: Matrix, sides: Sides, scalars: Scalars) -> tuple[Reduced, ...]:
    rows, columns = sides_of(matrix, sides)
    pairs, (between, meaning) = distinct(rows, columns), cosines(rows, columns)

    def reduced(reduction: Reduction) -> Reduced:
        values, fold = reduction.values(between, meaning, scalars), reduction.fold
        mask = negatives(reduction, rows, columns, pairs)
        down = fold.dense(values, mask, 0) if reduction.columns else None
        return Reduced(fold.dense(values, mask, 1), down)

    return tuple(reduced(reduction) for reduction in matrix.reductions)
