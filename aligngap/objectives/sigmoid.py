"""SigLIP's loss (Zhai et al. 2023, Eq. 3)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from aligngap.objectives.pairwise import Reduction, Scalars, Sum
from aligngap.objectives.terms import CROSS, Between, Pairs, Seen, evaluate, make_pairs


def sigmoid_loss(
    image: Float[ArrayLike, "B D"],
    text: Float[ArrayLike, "B D"],
    scale: Float[ArrayLike, ""],
    bias: Float[ArrayLike, ""],
    *,
    groups: Int[ArrayLike, "B"] | None = None,
    tile: int | None = None,
) -> Float[Array, ""]:
    """−(1/B) Σ_ij log σ(z_ij·(s·v_i·t_j + b)), z = +1 for a pair and −1 for negatives.

    Rows are L2-normalised; pairs with equal `groups` are no negatives of each other.
    """
    batch = make_pairs(image, text, scale, bias=bias, groups=groups)
    return evaluate([Sigmoid(masked=groups is not None)], batch, tile)[0]


@dataclass(frozen=True)
class Sigmoid:
    """The term of `sigmoid_loss`."""

    masked: bool = False

    @property
    def needs(self) -> dict[Between, tuple[Reduction, ...]]:
        """Of the images' cosines with the texts."""
        return {CROSS: (self._negatives,)}

    @property
    def _negatives(self) -> Reduction:
        """Σ −log σ(−logit) over a row's negatives."""
        return Reduction(_negative, Sum(), other_groups=self.masked)

    def value(self, pairs: Pairs, seen: Seen) -> Float[Array, ""]:
        """Pairs and negatives together, a row at a time."""
        logits = pairs.scalars.scale * seen.paired + pairs.scalars.bias
        return jnp.mean(jax.nn.softplus(-logits) + seen.reduced[CROSS, self._negatives].rows)


def _negative(cosines: Array, meaning: Array | None, scalars: Scalars) -> Array:
    del meaning
    return jax.nn.softplus(scalars.scale * cosines + scalars.bias)
