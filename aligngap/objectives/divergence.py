"""Cauchy-Schwarz divergence between the modalities (CS-Aligner, arXiv 2502.17028)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from aligngap.objectives.pairwise import LogSumExp, Matrix, Reduction, Scalars, Sum
from aligngap.objectives.terms import (
    CROSS,
    Between,
    Number,
    Pairs,
    Seen,
    evaluate,
    make_pairs,
    reduce,
)
from aligngap.objectives.uniformity import log_potential

IMAGES: Between = ("image", "image")
TEXTS: Between = ("text", "text")
SMALLEST = 1e-4  # σ² of rows that have collapsed; rounding alone gives ‖a − b‖² 1e-7.
PARTS, ROUNDS = 16, 6  # An interval of cosines is cut in 16, six times over: 3 / 16⁶ = 2e-7.


def cauchy_schwarz_loss(
    image: Float[ArrayLike, "B D"],
    text: Float[ArrayLike, "B D"],
    *,
    sigma: Number | None = None,
    tile: int | None = None,
) -> Float[Array, ""]:
    """log mean_ij κ(v_i, v_j) + log mean_ij κ(t_i, t_j) − 2 log mean_ij κ(v_i, t_j), at least 0.

    κ(a, b) = exp(−‖a − b‖²/2σ²), i = j included; rows are L2-normalised. None: `median_sigma`.
    """
    pairs = make_pairs(image, text)
    sigma = median_sigma(pairs, tile) if sigma is None else sigma
    return evaluate([CauchySchwarz()], make_pairs(image, text, sigma=sigma), tile)[0]


def median_sigma(pairs: Pairs, tile: int | None) -> Float[Array, ""]:
    """σ = √(median_ij ‖v_i − t_j‖²/2), the lower median of all B² pairs, without a gradient.

    A third party's rule: which σ the authors took is not known. Both forms narrow down the median
    by counting, so that neither sorts B² numbers; the cosine is found to 2e-7.
    """
    pairs = lax.stop_gradient(pairs)
    # As many cosines are at least the median's: more than an int32 holds, of 65,536 pairs.
    half = float((len(pairs.image) ** 2 + 1) // 2)
    counts = tuple(Reduction(_AtLeast(part), Sum()) for part in range(1, PARTS))

    def narrowed(_: Array, interval: tuple[Array, Array]) -> tuple[Array, Array]:
        low, width = interval
        scalars = Scalars(scale=width, bias=low, sigma=pairs.scalars.sigma)
        found = reduce((Matrix(*CROSS, counts),), pairs._replace(scalars=scalars), tile)
        reached = [
            jnp.sum(reduced.rows) + jnp.sum(count.values(found.paired, None, scalars)) >= half
            for count, reduced in zip(counts, found.reduced[0], strict=True)
        ]
        part = sum(jnp.asarray(one, jnp.float32) for one in reached)
        return low + width * part / PARTS, width / PARTS

    start = jnp.float32(-1.5), jnp.float32(3.0)  # Rows in bfloat16 are longer than 1.
    cosine, _ = lax.fori_loop(0, ROUNDS, narrowed, start)
    return jnp.sqrt(jnp.maximum(1.0 - cosine, SMALLEST))


@dataclass(frozen=True)
class CauchySchwarz:
    """The term of `cauchy_schwarz_loss`, whose σ is one of the batch's scalars."""

    @property
    def needs(self) -> dict[Between, tuple[Reduction, ...]]:
        """log of a row's sum of kernels, of each modality and between the two."""
        return dict.fromkeys((IMAGES, TEXTS, CROSS), (_KERNELS,))

    def value(self, pairs: Pairs, seen: Seen) -> Float[Array, ""]:
        """The three means are over B² pairs each, so their logarithms may be those of the sums."""

        def log_sum(matrix: Between, diagonal: Array) -> Array:
            return jax.nn.logsumexp(jnp.logaddexp(seen.reduced[matrix, _KERNELS].rows, diagonal))

        own = jnp.zeros_like(seen.paired)  # log κ(a, a)
        between = _log_kernel(seen.paired, None, pairs.scalars)
        return log_sum(IMAGES, own) + log_sum(TEXTS, own) - 2.0 * log_sum(CROSS, between)


def _log_kernel(cosines: Array, meaning: Array | None, scalars: Scalars) -> Array:
    del meaning
    return log_potential(cosines, 0.5 / scalars.sigma**2)


_KERNELS = Reduction(_log_kernel, LogSumExp())


@dataclass(frozen=True)
class _AtLeast:
    """1 where a cosine is at least bias + scale·part/PARTS, else 0."""

    part: int

    def __call__(self, cosines: Array, meaning: Array | None, scalars: Scalars) -> Array:
        del meaning
        threshold = scalars.bias + scalars.scale * (self.part / PARTS)
        return jnp.asarray(cosines >= threshold, jnp.float32)
