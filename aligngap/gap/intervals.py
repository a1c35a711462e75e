"""The measures of `gap.summary` with 95 % bootstrap intervals."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from aligngap.gap import measures

RESAMPLES = 1000
LEVELS = (0.025, 0.975)


@dataclass(frozen=True)
class Interval:
    """A measure's value and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def intervals(
    image: Float[np.ndarray, "N D"],
    text: Float[np.ndarray, "N D"],
    *,
    seed: int = 0,
) -> dict[str, Interval]:
    """name → value of `gap.summary` and the percentile interval over resampled pairs.

    A measure over pairs of rows never counts a row against its own copies (they are no pair of the
    population). The classifier of the separability is kept, and its test pairs are resampled.
    """
    values = measures.summary(image, text)
    if len(image) < 2:
        return {name: Interval(value, np.nan, np.nan) for name, value in values.items()}
    weights = np.random.default_rng(seed).multinomial(
        len(image), np.full(len(image), 1 / len(image)), size=RESAMPLES
    )
    with np.errstate(invalid="ignore", divide="ignore"):  # A draw of one pair alone has no spread.
        draws = _resampled(np.asarray(image, np.float64), np.asarray(text, np.float64), weights)
    hits = measures.separability_hits(image, text)
    chosen = np.random.default_rng(seed).integers(len(hits), size=(RESAMPLES, len(hits)))
    draws["linear_separability"] = hits[chosen].mean(axis=1)
    ends = {name: np.nanquantile(draws[name], LEVELS) for name in values}
    return {
        name: Interval(value, float(ends[name][0]), float(ends[name][1]))
        for name, value in values.items()
    }


def _resampled(
    v: Float[np.ndarray, "N D"], t: Float[np.ndarray, "N D"], weights: Int[np.ndarray, "R N"]
) -> dict[str, Float[np.ndarray, "R"]]:
    """Every measure but the separability, for each row of weights (how often a pair is drawn)."""
    w = weights.astype(np.float64)
    total = w.sum(axis=1)
    squares = (w**2).sum(axis=1)
    mean_v, mean_t = w @ v / total[:, None], w @ t / total[:, None]
    paired = w @ np.sum(v * t, axis=1) / total

    def mean_off_diagonal(values: np.ndarray) -> np.ndarray:
        np.fill_diagonal(values, 0.0)
        return np.einsum("rn,rn->r", w @ values, w) / (total**2 - squares)

    def log_potential(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.log(mean_off_diagonal(np.exp(-2.0 * (2.0 - 2.0 * a @ b.T))))

    def mean_cosine(x: np.ndarray) -> np.ndarray:
        off_diagonal = np.sum((w @ x) ** 2, axis=1) - w**2 @ np.sum(x**2, axis=1)
        return off_diagonal / (total**2 - squares)

    cosine_v, cosine_t = mean_cosine(v), mean_cosine(t)
    between, within = (1 - paired) / 2, (1 - cosine_v) / 4 + (1 - cosine_t) / 4
    return {
        "centroid_distance": np.linalg.norm(mean_v - mean_t, axis=1),
        "alignment_score": paired,
        "uniformity_image": log_potential(v, v),
        "uniformity_text": log_potential(t, t),
        "cross_uniformity": log_potential(v, t),
        "mean_pairwise_cosine_image": cosine_v,
        "mean_pairwise_cosine_text": cosine_t,
        "relative_modality_gap": between / (between + within),
    }
