"""Alignment and uniformity (Wang & Isola 2020; between modalities: Fahim et al. 2024)."""

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aligngap.objectives.pairwise import products


def alignment_loss(image: Float[Array, "B D"], text: Float[Array, "B D"]) -> Float[Array, ""]:
    """mean_j ‖v_j − t_j‖², in [0, 4] for L2-normalised rows."""
    chex.assert_equal_shape([image, text])
    difference = image.astype(jnp.float32) - text.astype(jnp.float32)
    return jnp.mean(jnp.sum(difference**2, axis=-1))


def uniformity_loss(embeddings: Float[Array, "B D"], *, t: float = 2.0) -> Float[Array, ""]:
    """log mean_{j<k} exp(−t‖m_j − m_k‖²) over distinct pairs; 0 for a single row."""
    return _log_mean_potential(products(embeddings, embeddings), t)


def cross_uniformity_loss(
    image: Float[Array, "B D"], text: Float[Array, "B D"], *, t: float = 2.0
) -> Float[Array, ""]:
    """log mean_{j≠k} exp(−t‖v_j − t_k‖²) over pairs that do not belong together; 0 for one row."""
    chex.assert_equal_shape([image, text])
    return _log_mean_potential(products(image, text), t)


def _log_mean_potential(cosines: Float[Array, "B B"], t: float) -> Float[Array, ""]:
    """Log of the mean Gaussian potential off the diagonal; ‖a − b‖² = 2 − 2a·b on the sphere."""
    batch = len(cosines)
    if batch == 1:
        return jnp.zeros(())
    distinct = ~jnp.eye(batch, dtype=bool)
    exponents = -t * (2.0 - 2.0 * cosines)
    return jax.nn.logsumexp(exponents, where=distinct) - jnp.log(float(batch * (batch - 1)))
