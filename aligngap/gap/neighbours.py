"""What takes every pair of rows: potentials, nearest neighbours, ranks; tile by tile, in O(N)."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from aligngap.config import MODALITIES
from aligngap.gap import copies
from aligngap.gap.copies import Items, Part
from aligngap.gap.unit_rows import expect_finite
from aligngap.objectives.uniformity import log_potential
from aligngap.tasks.ranking import KS, paired_hit_probability, paired_reciprocal_rank

TILE = 1024  # rows of a tile: with 20,000 columns it takes 80 MB
T = 2.0  # of the Gaussian potential exp(−t‖x − y‖²)
TIE = 1e-6  # cosines this close are equal: float32 rounds the same product differently

Watch = Callable[[Sequence[int]], Iterable[int]]


class View(NamedTuple):
    """For each of N rows, what it sees of N others; its own partner is the one of its index.

    The others are distinct: copies count once. They are without itself and its copies, or, in the
    other modality, without its right answers, which are those of its group."""

    potential: Float[Array | np.ndarray, "N"]  # sum of exp(−t‖x − y‖²) over the others
    others: Int[Array | np.ndarray, "N"]  # how many they are
    best: Float[Array | np.ndarray, "N"]  # largest cosine of an other, or of a right answer
    better: Int[Array | np.ndarray, "N"]  # how many others are closer than its partner
    ties: Int[Array | np.ndarray, "N"]  # how many others are as close as its partner


class Cloud(NamedTuple):
    """Rows of a modality with the number of each one's item, and the first row of each item."""

    rows: Float[Array, "N D"]
    item: Int[Array, "N"]
    first: Bool[Array, "N"]


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """What images see of images, texts of texts, images of texts, and texts of images."""

    image: View
    text: View
    to_text: View
    to_image: View
    items: Items


def look(
    image: ArrayLike, text: ArrayLike, items: Items | None = None, watch: Watch = iter
) -> Neighbours:
    """Every pair of rows of two clouds [N, D], L2-normalised; without `items`, equal rows are one.

    `watch` passes on starts of tiles. AligngapError for a row that is not finite.
    """
    items = copies.of(image, text) if items is None else items
    v, t = (
        Cloud(jnp.asarray(rows, jnp.float32), jnp.asarray(item, jnp.int32), jnp.asarray(first))
        for rows, item, first in (
            (image, items.image, items.first.image),
            (text, items.text, items.first.text),
        )
    )
    for name, cloud in zip(MODALITIES, (v, t), strict=True):
        expect_finite(name, np.asarray(cloud.rows))
    group, tile = jnp.asarray(items.group, jnp.int32), min(TILE, len(v.rows))
    # A last tile that would stand out is moved in: its first rows are done again, and the same.
    starts = [min(start, len(group) - tile) for start in range(0, len(group), tile)]
    found = [jax.block_until_ready(_tile(v, t, group, start, tile)) for start in watch(starts)]
    own, others, to_others, to_own = (
        _joined(parts, starts, tile) for parts in zip(*found, strict=True)
    )
    return Neighbours(own, others, to_others, to_own, items)


def same_modality_neighbours(
    image: Float[ArrayLike, "N D"], text: Float[ArrayLike, "N D"]
) -> Float[Array, ""]:
    """Share of rows whose nearest other row is of their modality (Role et al. 2025), the mean of
    both modalities'; equal rows of a modality are one.

    1 where the modalities lie apart, about ½ where they are mixed, 0 where pairs coincide.
    """
    return jnp.asarray(mean(same_modality(look(image, text))), jnp.float32)


def paired_ranks(image: Float[ArrayLike, "N D"], text: Float[ArrayLike, "N D"]) -> dict[str, float]:
    """Where a row's own pair stands among all N of the other modality, both ways: median and mean
    reciprocal rank, and the share of rows that find it among the first k. Equal rows are one, and
    right answers besides the pair (`copies.Items.group`) are left out."""
    return rank_values(look(image, text))


def same_modality(found: Neighbours) -> tuple[Part, Part]:
    """For each image, and for each text, whether its nearest neighbour is of its modality; by
    modality, since a text in a mixed cloud has texts about it where there are more of them."""
    parts = []
    for own, other, first in (
        (found.image, found.to_text, found.items.first.image),
        (found.text, found.to_image, found.items.first.text),
    ):
        ahead = np.asarray(own.best - other.best)
        shares = np.where(np.abs(ahead) <= TIE, 0.5, ahead > 0)
        parts.append(Part(shares[first], found.items.group[first]))
    return parts[0], parts[1]


def mean(parts: Sequence[Part]) -> float:
    """Of the means of parts."""
    return float(np.mean([part.values.mean() for part in parts]))


def directions(found: Neighbours) -> dict[str, View]:
    """Who looks for a pair, by the end of its measures' names."""
    return {"image_to_text": found.to_text, "text_to_image": found.to_image}


def distinct_directions(found: Neighbours) -> dict[str, View]:
    """Likewise, equal pairs once."""
    first = found.items.first.pair
    return {
        name: View(*(np.asarray(x)[first] for x in seen))
        for name, seen in directions(found).items()
    }


def rank_values(found: Neighbours) -> dict[str, float]:
    """The values of `paired_ranks`."""
    values = {}
    for name, seen in distinct_directions(found).items():
        values[f"paired_median_rank_{name}"] = float(np.median(ranks(seen)))
        values |= {k: float(x.mean()) for k, x in rank_scores(seen, name).items()}
    return values


def ranks(seen: View) -> Float[np.ndarray, "N"]:
    """The rank of each row's pair, from 1; the middle one of ties."""
    return 1.0 + np.asarray(seen.better) + np.asarray(seen.ties) / 2


def rank_scores(seen: View, name: str) -> dict[str, Float[np.ndarray, "N"]]:
    """Each row's reciprocal rank and its hits at k: their means over the orders of its ties."""
    better, ties = np.asarray(seen.better), np.asarray(seen.ties)
    reciprocal = {f"paired_mean_reciprocal_rank_{name}": paired_reciprocal_rank(better, ties)}
    return reciprocal | {
        f"paired_recall@{k}_{name}": paired_hit_probability(better, ties, k) for k in KS
    }


@functools.partial(jax.jit, static_argnames="tile")
def _tile(
    v: Cloud, t: Cloud, group: Array, start: Array, tile: int
) -> tuple[View, View, View, View]:
    """`tile` rows of each modality, from `start`, against all."""
    see = functools.partial(_see, start=start, tile=tile)
    return (
        see(v.rows, v, v.item, True),
        see(t.rows, t, t.item, True),
        see(v.rows, t, group, False),
        see(t.rows, v, group, False),
    )


def _see(
    rows: Array, others: Cloud, alike: Array, itself: bool, *, start: Array, tile: int
) -> View:
    """What rows[start : start + tile] see of `others` that are not `alike` in number."""
    queries = jax.lax.dynamic_slice_in_dim(rows, start, tile)
    cosines = jnp.matmul(queries, others.rows.T, precision="highest")
    partner = jnp.arange(len(others.rows)) == start + jnp.arange(tile)[:, None]
    own = jnp.sum(jnp.where(partner, cosines, 0.0), axis=1, keepdims=True)
    same = jax.lax.dynamic_slice_in_dim(alike, start, tile)[:, None] == alike
    other = others.first & ~same
    potentials = jnp.where(other, jnp.exp(log_potential(cosines, T)), 0.0)
    ahead = jnp.where(other, cosines - own, -jnp.inf)
    return View(
        potentials.sum(axis=1),
        other.sum(axis=1),
        jnp.max(jnp.where(same & itself, -jnp.inf, cosines), axis=1),
        jnp.sum(ahead > TIE, axis=1),
        jnp.sum(jnp.abs(ahead) <= TIE, axis=1),
    )


def _joined(parts: Iterable[View], starts: Sequence[int], tile: int) -> View:
    """The tiles' rows in order, without those that the last one has done again."""
    again = [0, *(before + tile - start for before, start in itertools.pairwise(starts))]
    columns = zip(*parts, strict=True)
    return View(
        *(
            np.concatenate([np.asarray(x)[skip:] for x, skip in zip(column, again, strict=True)])
            for column in columns
        )
    )
