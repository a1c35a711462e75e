"""Measures of the modality gap. Rows i of `image` and `text` [N, D] are a pair, L2-normalised.

Every row counts, copies too, but in `linear_separability`; `clouds` counts equal rows once.
"""

import chex
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from aligngap import objectives
from aligngap.gap import copies, formulas
from aligngap.gap.copies import Items, Part
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
    v, t = _float32(image), _float32(text)
    chex.assert_equal_shape([v, t])
    return paired(v, t).mean()


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

    80/20 split, pairs that share a row on the same side; equal rows are one, and both modalities
    count the same. 0.5 is no gap. N ≥ 2 that share none, else nan.
    """
    found = separability_hits(image, text, copies.of(image, text), seed)
    return jnp.asarray(np.mean([part.values.mean() for part in found]), jnp.float32)


def separability_hits(
    image: Float[ArrayLike, "N D"], text: Float[ArrayLike, "N D"], items: Items, seed: int = 0
) -> tuple[Part, Part]:
    """For each image, and for each text, of the test part of `linear_separability`, whether it is
    told right."""
    from sklearn.linear_model import LogisticRegression  # Seconds that training need not wait.

    pairs = np.stack([np.asarray(image, np.float32), np.asarray(text, np.float32)], axis=1)
    groups, own = np.unique(items.group, return_inverse=True)
    if len(groups) < 2:
        return (Part(np.array([np.nan]), groups[:1]),) * 2
    place = np.argsort(np.random.default_rng(seed).permutation(len(groups)))[own]
    cut = min(max(round(0.8 * len(groups)), 1), len(groups) - 1)
    order = np.argsort(place, kind="stable")
    first = np.stack([items.first.image, items.first.text], axis=1)[order].reshape(-1)
    rows, modality = (x[first] for x in _labelled(pairs[order]))
    group, test = np.repeat(items.group[order], 2)[first], np.repeat(place[order] >= cut, 2)[first]
    # Texts may be more than images: a guess is to be worth as much as where they are not.
    model = LogisticRegression(max_iter=1000, class_weight="balanced")
    model.fit(rows[~test], modality[~test])
    right = (model.predict(rows[test]) == modality[test]).astype(float)
    image_part, text_part = (
        Part(right[modality[test] == side], group[test][modality[test] == side]) for side in (0, 1)
    )
    return image_part, text_part


def _float32(embeddings: ArrayLike) -> Float[Array, "N D"]:
    rows = jnp.asarray(embeddings, jnp.float32)
    chex.assert_rank(rows, 2)
    return rows


def _labelled(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[N, 2, D] pairs → [2N, D] rows and their modality, 0 for images."""
    return pairs.reshape(-1, pairs.shape[-1]), np.tile([0, 1], len(pairs))
