"""CLIP-Refine's two losses (Yamaguchi et al. 2025, arXiv 2504.12717), of embeddings before they are
brought to length 1: random feature alignment and hybrid contrastive-distillation."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from aligngap.objectives.pairwise import Expectation, LogSumExp, Reduction, Scalars, paired
from aligngap.objectives.terms import RAW, Between, Pairs, Raw, Seen, evaluate, make_pairs


def random_alignment_loss(
    image: Float[ArrayLike, "B D"], text: Float[ArrayLike, "B D"], noise: Float[ArrayLike, "B D"]
) -> Float[Array, ""]:
    """RaFA: mean (v − z)² + mean (t − z)² over all B·D entries, z ~ N(0, I) of each pair."""
    raw = Raw(jnp.asarray(image), jnp.asarray(text), noise=jnp.asarray(noise))
    return evaluate([RandomAlignment()], make_pairs(image, text, raw=raw), None)[0]


def distillation_loss(
    image: Float[ArrayLike, "B D"],
    text: Float[ArrayLike, "B D"],
    taught_image: Float[ArrayLike, "B D"],
    taught_text: Float[ArrayLike, "B D"],
    *,
    alpha: float = 0.5,
    tile: int | None = None,
) -> Float[Array, ""]:
    """HyCD: the mean of both directions' KL(p̂ ‖ p) a row, p = softmax(V·Tᵀ) of plain products and
    p̂ = α·1 + (1 − α)·softmax of the teacher's, 1 for the pair; α in [0, 1)."""
    raw = Raw(*map(jnp.asarray, (image, text, taught_image, taught_text)))
    return evaluate([Distillation(alpha)], make_pairs(image, text, raw=raw), tile)[0]


@dataclass(frozen=True)
class RandomAlignment:
    """The term of `random_alignment_loss`."""

    @property
    def needs(self) -> dict[Between, tuple[Reduction, ...]]:
        """Nothing of negatives."""
        return {}

    def value(self, pairs: Pairs, seen: Seen) -> Float[Array, ""]:
        """Linear in the batch."""
        del seen
        assert pairs.raw is not None and pairs.raw.noise is not None
        image, text, noise = (
            x.astype(jnp.float32) for x in (pairs.raw.image, pairs.raw.text, pairs.raw.noise)
        )
        return jnp.mean((image - noise) ** 2) + jnp.mean((text - noise) ** 2)


@dataclass(frozen=True)
class Distillation:
    """The term of `distillation_loss`."""

    alpha: float

    @property
    def needs(self) -> dict[Between, tuple[Reduction, ...]]:
        """Of the products of both: the model's partition, and what the teacher expects of how far
        its own are above the model's."""
        return {RAW: (_PARTITION, _EXPECTED)}

    def value(self, pairs: Pairs, seen: Seen) -> Float[Array, ""]:
        """A row's own pair joins the negatives here."""
        raw = pairs.raw
        assert raw is not None and raw.taught_image is not None and raw.taught_text is not None
        own, taught = paired(raw.image, raw.text), paired(raw.taught_image, raw.taught_text)
        found = [seen.reduced[RAW, reduction] for reduction in (_PARTITION, _EXPECTED)]
        rows = self._divergence(own, taught, *(each.rows for each in found))
        columns = self._divergence(own, taught, *(each.columns for each in found))
        return 0.5 * (rows + columns)

    def _divergence(
        self, own: Array, taught: Array, partition: Array, expected: tuple[Array, Array]
    ) -> Float[Array, ""]:
        """Mean of Σ_j p̂_j (log p̂_j − x_j) + log Σ_j exp x_j. Of j other than the pair, p̂_j is
        (1 − α)·q_j and log p̂_j is log(1 − α) + y_j − log Σ_j exp y_j."""
        of_others, above = expected
        whole = jnp.logaddexp(of_others, taught)
        others, pair = jnp.exp(of_others - whole), jnp.exp(taught - whole)
        kept = 1.0 - self.alpha
        target = self.alpha + kept * pair
        of_negatives = kept * others * (jnp.log(kept) - whole + above)
        of_pair = jax.scipy.special.xlogy(target, target) - target * own
        return jnp.mean(of_negatives + of_pair + jnp.logaddexp(partition, own))


def _product(products: Array, meaning: Array | None, scalars: Scalars) -> Array:
    del meaning, scalars
    return products


def _above(products: Array, meaning: Array | None, scalars: Scalars) -> tuple[Array, Array]:
    """The teacher's, and how much higher they are."""
    del scalars
    assert meaning is not None
    return meaning, meaning - products


_PARTITION = Reduction(_product, LogSumExp(), columns=True)
_EXPECTED = Reduction(_above, Expectation(), columns=True, semantics=True)
