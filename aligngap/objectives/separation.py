"""AlignCLIP's intra-modality separation, IMSep (Eslami & de Melo 2025, Eq. 8-12)."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from aligngap.objectives.pairwise import LogSumExp, Reduction, Scalars, scaled
from aligngap.objectives.terms import Between, Pairs, Seen, evaluate, make_pairs


def separation_loss(
    embeddings: Float[ArrayLike, "B D"],
    paired: Float[ArrayLike, "B D"],
    scale: Float[ArrayLike, ""],
    *,
    semantics: Float[ArrayLike, "B S"] | None = None,
    tile: int | None = None,
) -> Float[Array, ""]:
    """mean_i CE(Y_i, i), Y = s·[(V·Vᵀ)⊙(1 − E·Eᵀ) + diag(v_i·t_i)]; rows are L2-normalised.

    `paired` is the other modality, `semantics` E the sentence embeddings of the pairs: samples of
    like meaning are pushed apart less. None: no re-scaling, the diagonal of s·V·Vᵀ replaced.
    """
    term = Separation("image", rescaled=semantics is not None)
    return evaluate([term], make_pairs(embeddings, paired, scale, semantics=semantics), tile)[0]


@dataclass(frozen=True)
class Separation:
    """The term of `separation_loss`: which modality is separated, and whether it is re-scaled."""

    modality: str
    rescaled: bool = True

    @property
    def needs(self) -> dict[Between, tuple[Reduction, ...]]:
        """Of the modality's cosines with itself."""
        return {self._own: (self._negatives,)}

    @property
    def _own(self) -> Between:
        return self.modality, self.modality

    @property
    def _negatives(self) -> Reduction:
        """log Σ exp over a row's negatives; the diagonal is the positive, by definition."""
        values = _rescaled if self.rescaled else scaled
        return Reduction(values, LogSumExp(), semantics=self.rescaled)

    def value(self, pairs: Pairs, seen: Seen) -> Float[Array, ""]:
        """Cross-entropy of each row, whose positive is its partner of the other modality."""
        positive = pairs.scalars.scale * seen.paired
        partition = jnp.logaddexp(seen.reduced[self._own, self._negatives].rows, positive)
        return jnp.mean(partition - positive)


def _rescaled(cosines: Array, meaning: Array | None, scalars: Scalars) -> Array:
    assert meaning is not None
    return scalars.scale * cosines * (1.0 - meaning)
