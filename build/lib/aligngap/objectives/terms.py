"""How losses are made: each is a formula over reductions of one matrix of cosines.

Losses of one matrix share its products, and losses that need the same reduction share that:
`evaluate` makes one pass over each matrix, whatever subset of losses is asked for.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aligngap.objectives import tiled
from aligngap.objectives.pairwise import Matrix, Reduced, Reduction, Scalars, Side, Sides, dense

Number = Float[Array, ""] | float
Between = tuple[str, str]  # Whose rows and whose columns a matrix of cosines has.
CROSS: Between = ("image", "text")


class Pairs(NamedTuple):
    """A batch as losses see it; rows of image and text are L2-normalised."""

    image: Float[Array, "B D"]
    text: Float[Array, "B D"]
    scalars: Scalars
    semantics: Float[Array, "B S"] | None
    groups: Int[Array, "B"] | None


class Seen(NamedTuple):
    """What a loss is made of: the cosine of each pair, and its reductions over negatives."""

    paired: Float[Array, "B"]
    reduced: Mapping[Reduction, Reduced]


class Term(Protocol):
    """One loss. `matrix` is None where it looks at no negatives."""

    @property
    def matrix(self) -> Between | None: ...

    @property
    def reductions(self) -> tuple[Reduction, ...]: ...

    def value(self, pairs: Pairs, seen: Seen) -> Float[Array, ""]: ...


def make_pairs(
    image: Float[Array, "B D"],
    text: Float[Array, "B D"],
    scale: Number = 1.0,
    *,
    bias: Number | None = None,
    semantics: Float[Array, "B S"] | None = None,
    groups: Int[Array, "B"] | None = None,
) -> Pairs:
    """A batch with its shapes checked. No gradient flows into the semantics."""
    chex.assert_rank([image, text], 2)
    chex.assert_equal_shape([image, text])
    for array in (semantics, groups):
        if array is not None:
            chex.assert_equal_shape_prefix([image, array], 1)
    image, text = jnp.asarray(image), jnp.asarray(text)
    if semantics is not None:
        semantics = jax.lax.stop_gradient(jnp.asarray(semantics).astype(image.dtype))
    bias = 0.0 if bias is None else bias
    scalars = Scalars(jnp.asarray(scale, jnp.float32), jnp.asarray(bias, jnp.float32))
    return Pairs(image, text, scalars, semantics, None if groups is None else jnp.asarray(groups))


def evaluate(terms: Sequence[Term], pairs: Pairs, tile: int | None) -> list[Float[Array, ""]]:
    """The value of each term; `tile` None holds each matrix whole, a number streams over tiles."""
    if tile is not None and tile < 1:
        raise ValueError(f"tile={tile} must be at least 1 (None: the dense form)")
    wanted: dict[Between, list[Reduction]] = {}
    for term in terms:
        if term.matrix is not None:
            wanted.setdefault(term.matrix, []).extend(term.reductions)
    matrices = tuple(Matrix(*sides, tuple(dict.fromkeys(rs))) for sides, rs in wanted.items())
    image = Side(pairs.image, pairs.semantics, pairs.groups, jnp.arange(len(pairs.image)))
    sides = Sides(image, image._replace(embeddings=pairs.text))
    if tile is None:
        found = dense(matrices, sides, pairs.scalars)
    else:
        found = tiled.reduce(matrices, tile, sides, pairs.scalars)
    reduced: dict[Between | None, dict[Reduction, Reduced]] = {None: {}}
    for matrix, results in zip(matrices, found.reduced, strict=True):
        reduced[matrix.rows, matrix.columns] = dict(zip(matrix.reductions, results, strict=True))
    return [term.value(pairs, Seen(found.paired, reduced[term.matrix])) for term in terms]
