"""Alignment and uniformity (Wang & Isola 2020; between modalities: Fahim et al. 2024; of the
pairs' centroids: CL_gap, arXiv 2601.18525)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from aligngap.objectives.pairwise import LogSumExp, Reduction, Scalars
from aligngap.objectives.terms import CENTROIDS, CROSS, Between, Pairs, Seen, evaluate, make_pairs


def alignment_loss(
    image: Float[ArrayLike, "B D"], text: Float[ArrayLike, "B D"]
) -> Float[Array, ""]:
    """mean_j ‖v_j − t_j‖², in [0, 4] for L2-normalised rows."""
    return evaluate([Alignment()], make_pairs(image, text), None)[0]


def uniformity_loss(
    embeddings: Float[ArrayLike, "B D"], *, t: float = 2.0, tile: int | None = None
) -> Float[Array, ""]:
    """log mean_{j<k} exp(−t‖m_j − m_k‖²) over distinct pairs; 0 for a single row."""
    return evaluate([Uniformity(("image", "image"), t)], make_pairs(embeddings, embeddings), tile)[
        0
    ]


def cross_uniformity_loss(
    image: Float[ArrayLike, "B D"],
    text: Float[ArrayLike, "B D"],
    *,
    t: float = 2.0,
    tile: int | None = None,
) -> Float[Array, ""]:
    """log mean_{j≠k} exp(−t‖v_j − t_k‖²) over pairs that do not belong together; 0 for one row."""
    return evaluate([Uniformity(CROSS, t)], make_pairs(image, text), tile)[0]


def centroid_uniformity_loss(
    image: Float[ArrayLike, "B D"],
    text: Float[ArrayLike, "B D"],
    *,
    t: float = 2.0,
    tile: int | None = None,
) -> Float[Array, ""]:
    """log mean_{j<k} exp(−t‖c_j − c_k‖²), c_j = (v_j + t_j)/2 at length 1; 0 for one row.

    As CL_gap's code: it spreads pairs and leaves their two halves to `alignment_loss`.
    """
    return evaluate([Uniformity(CENTROIDS, t)], make_pairs(image, text), tile)[0]


@dataclass(frozen=True)
class Alignment:
    """The term of `alignment_loss`."""

    @property
    def needs(self) -> dict[Between, tuple[Reduction, ...]]:
        """Nothing of negatives."""
        return {}

    def value(self, pairs: Pairs, seen: Seen) -> Float[Array, ""]:
        """Linear in the batch."""
        del seen
        difference = pairs.image.astype(jnp.float32) - pairs.text.astype(jnp.float32)
        return jnp.mean(jnp.sum(difference**2, axis=-1))


@dataclass(frozen=True)
class Uniformity:
    """The term of `uniformity_loss`, and by its matrix that of the other two."""

    matrix: Between
    t: float = 2.0

    @property
    def needs(self) -> dict[Between, tuple[Reduction, ...]]:
        """Of one matrix."""
        return {self.matrix: (self._potentials,)}

    @property
    def _potentials(self) -> Reduction:
        """log of a row's sum of Gaussian potentials."""
        return Reduction(_Potential(self.t), LogSumExp())

    def value(self, pairs: Pairs, seen: Seen) -> Float[Array, ""]:
        """Over j ≠ k: within a modality that sees each pair twice, which the mean takes out."""
        batch = len(pairs.image)
        if batch == 1:
            return jnp.zeros(())
        rows = seen.reduced[self.matrix, self._potentials].rows
        return jax.nn.logsumexp(rows) - jnp.log(float(batch * (batch - 1)))


def log_potential(cosines: Array, t: Array | float) -> Array:
    """The exponent −t‖a − b‖² of the Gaussian potential of unit vectors: −t(2 − 2a·b)."""
    return -t * (2.0 - 2.0 * cosines)


@dataclass(frozen=True)
class _Potential:
    """`log_potential` of a matrix, as a reduction takes it."""

    t: float

    def __call__(self, cosines: Array, meaning: Array | None, scalars: Scalars) -> Array:
        del meaning, scalars
        return log_potential(cosines, self.t)
