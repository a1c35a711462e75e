"""Measures of the modality gap. Rows i of `image` and `text` [N, D] are a pair, L2-normalised."""

import chex
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from aligngap import objectives
from aligngap.gap import formulas
from aligngap.objectives.pairwise import paired


def gap_vector(image: Float[ArrayLike, "N D"], text: Float[ArrayLike, "N D"]) -> Float[Array, "D"]:
    """Δ = mean V − mean T (Liang et al. 2022)."""
    return _float32(image).mean(axis=0) - _float32(text).mean(axis=0)


def centroid_distance(
    image: Float[ArrayLike, "N D"], text: Float[ArrayLike, "N D"]
) -> Float[Array, ""]:
    """‖Δ‖ in [0, 2]: the gap of Liang et al. 2022."""
    return formulas.centroid_distance(gap_vector(image, text))


def alignment_score(
    image: Float[ArrayLike, "N D"], text: Float[ArrayLike, "N D"]
) -> Float[Array, ""]:
    """Mean cosine of the matched pairs (Eslami & de Melo 2025)."""
    chex.assert_equal_shape([image, text])
    return paired(_float32(image), _float32(text)).mean()


def uniformity(embeddings: Float[ArrayLike, "N D"], t: float = 2.0) -> Float[Array, ""]:
    """log mean exp(−t‖x − x'‖²) over distinct pairs (Wang & Isola 2020); 0 is collapse."""
    return objectives.uniformity_loss(_float32(embeddings), t=t)


def cross_uniformity(
    image: Float[ArrayLike, "N D"], text: Float[ArrayLike, "N D"], t: float = 2.0
) -> Float[Array, ""]:
    """Uniformity between the modalities, over unmatched pairs (Fahim et al. 2024)."""
    return objectives.cross_uniformity_loss(_float32(image), _float32(text), t=t)


def mean_pairwise_cosine(embeddings: Float[ArrayLike, "N D"]) -> Float[Array, ""]:
    """Mean cosine of distinct rows: how narrow the cone is (Liang et al. 2022). N ≥ 2, else nan."""
    x = _float32(embeddings)
    n = len(x)
    if n < 2:
        return jnp.asarray(jnp.nan)
    return formulas.mean_pairwise_cosine(x.sum(axis=0), jnp.sum(x**2), n * (n - 1))


def relative_modality_gap(
    image: Float[ArrayLike, "N D"], text: Float[ArrayLike, "N D"]
) -> Float[Array, ""]:
    """How far pairs are apart against two of one modality, in [0, 1] (Schrodi et al. 2025)."""
    within = [mean_pairwise_cosine(x) for x in (image, text)]
    return formulas.relative_modality_gap(alignment_score(image, text), *within)


def linear_separability(
    image: Float[ArrayLike, "N D"], text: Float[ArrayLike, "N D"], seed: int = 0
) -> Float[Array, ""]:
    """Test accuracy of logistic regression between the modalities (Fahim et al. 2024).

    80/20 split, a pair on the same side in both modalities; 0.5 is no gap. N ≥ 2, else nan.
    """
    return jnp.asarray(separability_hits(image, text, seed).mean(), jnp.float32)


def separability_hits(
    image: Float[ArrayLike, "N D"], text: Float[ArrayLike, "N D"], seed: int = 0
) -> Float[np.ndarray, "M"]:
    """For each test pair of `linear_separability`, the share of its two rows told right."""
    from sklearn.linear_model import LogisticRegression  # Seconds that training need not wait.

    pairs = np.stack([np.asarray(image, np.float32), np.asarray(text, np.float32)], axis=1)
    if len(pairs) < 2:
        return np.array([np.nan])
    pairs = pairs[np.random.default_rng(seed).permutation(len(pairs))]
    cut = min(max(round(0.8 * len(pairs)), 1), len(pairs) - 1)
    (x_train, y_train), (x_test, y_test) = (_labelled(part) for part in np.split(pairs, [cut]))
    model = LogisticRegression(max_iter=1000).fit(x_train, y_train)
    return (model.predict(x_test) == y_test).reshape(-1, 2).mean(axis=1)


def _float32(embeddings: ArrayLike) -> Float[Array, "N D"]:
    return jnp.asarray(embeddings, jnp.float32)


def _labelled(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[N, 2, D] pairs → [2N, D] rows and their modality, 0 for images."""
    return pairs.reshape(-1, pairs.shape[-1]), np.tile([0, 1], len(pairs))
