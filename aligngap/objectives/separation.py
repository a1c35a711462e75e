"""AlignCLIP's intra-modality separation, IMSep (Eslami & de Melo 2025, Eq. 8-12)."""

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aligngap.objectives.pairwise import paired as paired_products
from aligngap.objectives.pairwise import products


def separation_loss(
    embeddings: Float[Array, "B D"],
    paired: Float[Array, "B D"],
    scale: Float[Array, ""],
    *,
    semantics: Float[Array, "B S"] | None = None,
) -> Float[Array, ""]:
    """mean_i CE(Y_i, i), Y = s·[(V·Vᵀ)⊙(1 − E·Eᵀ) + diag(v_i·t_i)]; rows are L2-normalised.

    `paired` is the other modality, `semantics` E the sentence embeddings of the pairs: samples of
    like meaning are pushed apart less. None: no re-scaling, the diagonal of s·V·Vᵀ replaced.
    """
    chex.assert_equal_shape([embeddings, paired])
    similarity = products(embeddings, embeddings)
    if semantics is not None:
        chex.assert_equal_shape_prefix([embeddings, semantics], 1)
        semantics = jax.lax.stop_gradient(semantics)
        similarity = similarity * (1.0 - products(semantics, semantics))
    positive = paired_products(embeddings, paired)
    # The diagonal of 1 − E·Eᵀ is 0 by definition, not the rounding error that a product leaves.
    own = jnp.eye(len(embeddings), dtype=bool)
    logits = jnp.asarray(scale, jnp.float32) * jnp.where(own, positive[:, None], similarity)
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - jnp.diagonal(logits))
