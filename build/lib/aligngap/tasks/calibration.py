"""Calibration: whether a classifier is right as often as it is sure."""

import numpy as np
from jaxtyping import Float, Int
from scipy.special import softmax

from aligngap.tasks.standings import SCORES_AT_ONCE, TIE

BINS = 15


def confidences(
    image: Float[np.ndarray, "N D"],
    classes: Float[np.ndarray, "C D"],
    labels: Int[np.ndarray, "N"],
    scale: float,
) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "N"]]:
    """The greatest of softmax(scale · cosine) over the classes, and whether that class is the
    image's own; classes that tie share the guess."""
    confidence, correct = np.zeros(len(image)), np.zeros(len(image))
    columns, step = np.asarray(classes, np.float64).T, max(1, SCORES_AT_ONCE // len(classes))
    for start in range(0, len(image), step):
        rows = slice(start, start + step)
        cosine = np.asarray(image[rows], np.float64) @ columns
        first = cosine >= cosine.max(axis=1, keepdims=True) - TIE
        own = np.take_along_axis(first, labels[rows, None], axis=1)[:, 0]
        correct[rows] = own / first.sum(axis=1)
        confidence[rows] = softmax(scale * cosine, axis=1).max(axis=1)
    return confidence, correct


def expected_calibration_error(
    confidence: Float[np.ndarray, "N"], correct: Float[np.ndarray, "N"], bins: int = BINS
) -> float:
    """Σ_b |B_b| / N · |accuracy(B_b) − confidence(B_b)| over bins of equal width, (a, b] each, the
    first with 0 (Guo et al. 2017, equation 5)."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    places = np.searchsorted(edges[1:-1], confidence)
    return float(np.abs(np.bincount(places, correct - confidence)).sum() / len(confidence))
