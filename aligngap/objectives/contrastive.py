"""CLIP's loss (Radford et al. 2021, figure 3)."""

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aligngap.objectives.pairwise import products


def contrastive_loss(
    image: Float[Array, "B D"],
    text: Float[Array, "B D"],
    scale: Float[Array, ""],
    *,
    groups: Int[Array, "B"] | None = None,
    label_smoothing: float = 0.0,
) -> Float[Array, ""]:
    """Mean of the image→text and text→image cross-entropies of s·V·Tᵀ; rows are L2-normalised.

    Pairs with equal `groups` are no negatives of each other. `label_smoothing` moves that share of
    the target evenly onto a row's candidates (masked ones excluded).
    """
    chex.assert_equal_shape([image, text])
    logits = jnp.asarray(scale, jnp.float32) * products(image, text)
    candidates = _candidates(len(image), groups)
    rows = _cross_entropy(logits, candidates, label_smoothing)
    columns = _cross_entropy(logits.T, candidates, label_smoothing)
    return 0.5 * (rows + columns)


def _candidates(batch: int, groups: Int[Array, "B"] | None) -> Array:
    """[B, B]: which columns a row competes with; its own pair always is one."""
    if groups is None:
        return jnp.ones((batch, batch), bool)
    return (groups[:, None] != groups[None, :]) | jnp.eye(batch, dtype=bool)


def _cross_entropy(
    logits: Float[Array, "B B"], candidates: Array, smoothing: float
) -> Float[Array, ""]:
    """Mean over rows of CE(logits_i, target i), the target smoothed over the candidates."""
    partition = jax.nn.logsumexp(logits, axis=1, where=candidates)
    others = jnp.mean(logits, axis=1, where=candidates)
    target = (1.0 - smoothing) * jnp.diagonal(logits) + smoothing * others
    return jnp.mean(partition - target)
