"""CLIP's loss (Radford et al. 2021, figure 3)."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from aligngap.objectives.pairwise import (
    LogSumExp,
    Reduction,
    Scalars,
    Sum,
    scaled,
)
from aligngap.objectives.terms import CROSS, Between, Pairs, Seen, evaluate, make_pairs


def contrastive_loss(
    image: Float[ArrayLike, "B D"],
    text: Float[ArrayLike, "B D"],
    scale: Float[ArrayLike, ""],
    *,
    groups: Int[ArrayLike, "B"] | None = None,
    label_smoothing: float = 0.0,
    tile: int | None = None,
) -> Float[Array, ""]:
    """Mean of the image→text and text→image cross-entropies of s·V·Tᵀ; rows are L2-normalised.

    Pairs with equal `groups` are no negatives of each other. `label_smoothing` moves that share of
    the target evenly onto a row's candidates (masked ones excluded).
    """
    term = Contrastive(label_smoothing, masked=groups is not None)
    return evaluate([term], make_pairs(image, text, scale, groups=groups), tile)[0]


@dataclass(frozen=True)
class Contrastive:
    """The term of `contrastive_loss`."""

    label_smoothing: float = 0.0
    masked: bool = False

    @property
    def needs(self) -> dict[Between, tuple[Reduction, ...]]:
        """Of the images' cosines with the texts."""
        return {CROSS: self._reductions}

    @property
    def _reductions(self) -> tuple[Reduction, ...]:
        """log Σ exp over a row's negatives; their sum and their number where it is smoothed."""
        partition = Reduction(scaled, LogSumExp(), columns=True, other_groups=self.masked)
        if not self.label_smoothing:
            return (partition,)
        total = Reduction(scaled, Sum(), columns=True, other_groups=self.masked)
        return partition, total, Reduction(_one, Sum(), columns=True, other_groups=self.masked)

    def value(self, pairs: Pairs, seen: Seen) -> Float[Array, ""]:
        """A row's own pair always competes: it joins the negatives here."""
        positive = pairs.scalars.scale * seen.paired
        reduced = [seen.reduced[CROSS, reduction] for reduction in self._reductions]
        rows = self._cross_entropy(positive, [r.rows for r in reduced])
        columns = self._cross_entropy(positive, [r.columns for r in reduced])
        return 0.5 * (rows + columns)

    def _cross_entropy(self, positive: Array, of_negatives: list[Any]) -> Array:
        partition, *smoothed = of_negatives
        target = positive
        if smoothed:
            total, count = smoothed
            mean = (total + positive) / (count + 1.0)
            target = (1.0 - self.label_smoothing) * positive + self.label_smoothing * mean
        return jnp.mean(jnp.logaddexp(partition, positive) - target)


def _one(cosines: Array, meaning: Array | None, scalars: Scalars) -> Array:
    del meaning, scalars
    return jnp.ones_like(cosines)
