"""Modality swapping (Yaras et al. 2024): pairs exchange entries, so that neither modality keeps to
its own side."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aligngap.unit import unit_rows


def swap(
    key: Array,
    image: Float[Array, "B D"],
    text: Float[Array, "B D"],
    *,
    mode: str,
    share: float,
) -> tuple[Float[Array, "B D"], Float[Array, "B D"]]:
    """With chance `share`, both after an exchange of entries, L2-normalised again; else as given.

    "hard": each entry changes places with its partner with chance 1/2. "soft": each becomes
    λ of itself and 1 − λ of its partner, λ ~ U(0, 1).
    """
    for_step, for_entries = jax.random.split(key)
    kept = jax.random.uniform(for_entries, image.shape)
    if mode == "hard":
        kept = jnp.round(kept)
    # λ = 1 for every entry leaves a pair as it is: no branch, and no second set of embeddings.
    kept = jnp.where(jax.random.uniform(for_step) < share, kept, 1.0)
    swapped = kept * image + (1 - kept) * text, kept * text + (1 - kept) * image
    return unit_rows(swapped[0]), unit_rows(swapped[1])
