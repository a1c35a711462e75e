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
from jaxtyping import Array, Float, Int

from aligngap.objectives.uniformity import log_potential
from aligngap.tasks.ranking import KS, paired_hit_probability, paired_reciprocal_rank

TILE = 1024  # rows of a tile: with 20,000 columns it takes 80 MB
T = 2.0  # of the Gaussian potential exp(−t‖x − y‖²)
TIE = 1e-6  # cosines this close are equal: float32 rounds the same product differently

Watch = Callable[[Sequence[int]], Iterable[int]]


class View(NamedTuple):
    """For each of N rows, what it sees of N others; its own partner is the one of its index."""

    potential: Float[Array | np.ndarray, "N"]  # mean of exp(−t‖x − y‖²) over all but its partner
    best: Float[Array | np.ndarray, "N"]  # largest cosine: without itself, but with its pair
    better: Int[Array | np.ndarray, "N"]  # how many are closer than its partner
    ties: Int[Array | np.ndarray, "N"]  # how many others are as close as its partner


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """What images see of images, texts of texts, images of texts, and texts of images."""

    image: View
    text: View
    to_text: View
    to_image: View


def look(image: ArrayLike, text: ArrayLike, watch: Watch = iter) -> Neighbours:
    """Every pair of rows of two clouds [N, D], L2-normalised; `watch` passes on starts of tiles."""
    v, t = jnp.asarray(image, jnp.float32), jnp.asarray(text, jnp.float32)
    tile = min(TILE, len(v))
    # A last tile that would stand out is moved in: its first rows are done again, and the same.
    starts = [min(start, len(v) - tile) for start in range(0, len(v), tile)]
    found = [jax.block_until_ready(_tile(v, t, start, tile)) for start in watch(starts)]
    return Neighbours(*(_joined(parts, starts, tile) for parts in zip(*found, strict=True)))


def same_modality_neighbours(
    image: Float[ArrayLike, "N D"], text: Float[ArrayLike, "N D"]
) -> Float[Array, ""]:
    """Share of the 2N rows whose nearest other row is of their modality (Role et al. 2025).

    1 where the modalities lie apart, about ½ where they are mixed, 0 where pairs coincide.
    """
    return jnp.asarray(same_modality(look(image, text)).mean(), jnp.float32)


def paired_ranks(image: Float[ArrayLike, "N D"], text: Float[ArrayLike, "N D"]) -> dict[str, float]:
    """Where a row's own pair stands among all N of the other modality, both ways: median and mean
    reciprocal rank, and the share of rows that find it among the first k."""
    return rank_values(look(image, text))


def same_modality(found: Neighbours) -> Float[np.ndarray, "N"]:
    """For each pair, the share of its two rows whose nearest neighbour is of their modality."""
    shares = []
    for own, other in ((found.image, found.to_text), (found.text, found.to_image)):
        ahead = np.asarray(own.best - other.best)
        shares.append(np.where(np.abs(ahead) <= TIE, 0.5, ahead > 0))
    return np.mean(shares, axis=0)


def directions(found: Neighbours) -> dict[str, View]:
    """Who looks for a pair, by the end of its measures' names."""
    return {"image_to_text": found.to_text, "text_to_image": found.to_image}


def rank_values(found: Neighbours) -> dict[str, float]:
    """The values of `paired_ranks`."""
    values = {}
    for name, seen in directions(found).items():
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
def _tile(v: Array, t: Array, start: Array, tile: int) -> tuple[View, View, View, View]:
    """`tile` rows of each modality, from `start`, against all."""
    see = functools.partial(_see, start=start, tile=tile)
    return see(v, v, True), see(t, t, True), see(v, t, False), see(t, v, False)


def _see(rows: Array, others: Array, itself: bool, *, start: Array, tile: int) -> View:
    """What rows[start : start + tile] see of `others`."""
    queries = jax.lax.dynamic_slice_in_dim(rows, start, tile)
    cosines = jnp.matmul(queries, others.T, precision="highest")
    partner = jnp.arange(len(others)) == start + jnp.arange(tile)[:, None]
    own = jnp.sum(jnp.where(partner, cosines, 0.0), axis=1, keepdims=True)
    potentials = jnp.where(partner, 0.0, jnp.exp(log_potential(cosines, T)))
    ahead = jnp.where(partner, -jnp.inf, cosines - own)
    return View(
        potentials.sum(axis=1) / max(len(others) - 1, 1),
        jnp.max(jnp.where(partner & itself, -jnp.inf, cosines), axis=1),
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
