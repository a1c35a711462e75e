"""How losses are made: each is a formula over reductions of matrices of cosines.

Losses of one matrix share its products, and losses that need the same reduction share that:
`evaluate` makes one pass over each matrix, whatever subset of losses is asked for.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from aligngap.objectives import tiled
from aligngap.objectives.pairwise import (
    Matrix,
    Reduced,
    Reduction,
    Reductions,
    Scalars,
    Side,
    Sides,
    dense,
)
from aligngap.unit import unit_rows

Number = Float[ArrayLike, ""]
Between = tuple[str, str]  # Whose rows and whose columns a matrix of cosines has.
CROSS: Between = ("image", "text")
CENTROIDS: Between = ("centroid", "centroid")
RAW: Between = ("raw_image", "raw_text")


class Raw(NamedTuple):
    """Embeddings before they are brought to length 1; those of a teacher, and noise that both are
    to be like, where a loss asks for them."""

    image: Float[Array, "B D"]
    text: Float[Array, "B D"]
    taught_image: Float[Array, "B D"] | None = None
    taught_text: Float[Array, "B D"] | None = None
    noise: Float[Array, "B D"] | None = None


class Pairs(NamedTuple):
    """A batch as losses see it; rows of image and text are L2-normalised."""

    image: Float[Array, "B D"]
    text: Float[Array, "B D"]
    scalars: Scalars
    semantics: Float[Array, "B S"] | None
    groups: Int[Array, "B"] | None
    raw: Raw | None = None


class Seen(NamedTuple):
    """What a loss is made of: the cosine of each pair, and its reductions over negatives."""

    paired: Float[Array, "B"]
    reduced: Mapping[tuple[Between, Reduction], Reduced]


class Term(Protocol):
    """One loss: what it needs of which matrices, and what it makes of that."""

    @property
    def needs(self) -> Mapping[Between, tuple[Reduction, ...]]: ...

    def value(self, pairs: Pairs, seen: Seen) -> Float[Array, ""]: ...


def make_pairs(
    image: Float[ArrayLike, "B D"],
    text: Float[ArrayLike, "B D"],
    scale: Number = 1.0,
    *,
    bias: Number | None = None,
    sigma: Number = 1.0,
    semantics: Float[ArrayLike, "B S"] | None = None,
    groups: Int[ArrayLike, "B"] | None = None,
    raw: Raw | None = None,
) -> Pairs:
    """A batch with its shapes checked. No gradient flows into the semantics, a teacher's rows or
    noise."""
    image, text = jnp.asarray(image), jnp.asarray(text)
    semantics, groups = (None if x is None else jnp.asarray(x) for x in (semantics, groups))
    chex.assert_rank([image, text], 2)
    chex.assert_equal_shape([image, text])
    for array in (semantics, groups):
        if array is not None:
            chex.assert_equal_shape_prefix([image, array], 1)
    if semantics is not None:
        semantics = jax.lax.stop_gradient(semantics.astype(image.dtype))
    if raw is not None:
        chex.assert_equal_shape([image, *(rows for rows in raw if rows is not None)])
        raw = jax.lax.stop_gradient(raw)._replace(image=raw.image, text=raw.text)
    numbers = (scale, 0.0 if bias is None else bias, sigma)
    scalars = Scalars(*(jnp.asarray(number, jnp.float32) for number in numbers))
    return Pairs(image, text, scalars, semantics, groups, raw)


def evaluate(terms: Sequence[Term], pairs: Pairs, tile: int | None) -> list[Float[Array, ""]]:
    """The value of each term; `tile` None holds each matrix whole, a number streams over tiles."""
    wanted: dict[Between, list[Reduction]] = {}
    for term in terms:
        for between, reductions in term.needs.items():
            wanted.setdefault(between, []).extend(reductions)
    matrices = tuple(Matrix(*sides, tuple(dict.fromkeys(rs))) for sides, rs in wanted.items())
    found = reduce(matrices, pairs, tile)
    reduced = {
        ((matrix.rows, matrix.columns), reduction): result
        for matrix, results in zip(matrices, found.reduced, strict=True)
        for reduction, result in zip(matrix.reductions, results, strict=True)
    }
    return [term.value(pairs, Seen(found.paired, reduced)) for term in terms]


def reduce(matrices: tuple[Matrix, ...], pairs: Pairs, tile: int | None) -> Reductions:
    """All reductions of all matrices, in the form that `tile` says."""
    if tile is not None and tile < 1:
        raise ValueError(f"tile={tile} must be at least 1 (None: the dense form)")
    image = Side(pairs.image, pairs.semantics, pairs.groups, jnp.arange(len(pairs.image)))
    sides = Sides(image, image._replace(embeddings=pairs.text))
    if any("centroid" in (matrix.rows, matrix.columns) for matrix in matrices):
        sides = sides._replace(centroid=image._replace(embeddings=_centroids(pairs)))
    if raw := pairs.raw if any(matrix[:2] == RAW for matrix in matrices) else None:
        sides = sides._replace(
            raw_image=image._replace(embeddings=raw.image, semantics=raw.taught_image),
            raw_text=image._replace(embeddings=raw.text, semantics=raw.taught_text),
        )
    if tile is None:
        return dense(matrices, sides, pairs.scalars)
    return tiled.reduce(matrices, tile, sides, pairs.scalars)


def _centroids(pairs: Pairs) -> Float[Array, "B D"]:
    """(v_i + t_i)/2 at length 1; zero, without a gradient, where the two are opposite."""
    total = pairs.image.astype(jnp.float32) + pairs.text.astype(jnp.float32)
    some = jnp.any(total != 0, axis=-1, keepdims=True)
    unit = jnp.where(some, unit_rows(jnp.where(some, total, 1.0)), 0.0)
    return unit.astype(pairs.image.dtype)
