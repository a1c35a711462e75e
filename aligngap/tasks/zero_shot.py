"""Zero-shot classification: the class whose captions lie nearest to the image (METHODS §5)."""

from collections.abc import Sequence

import chex
import numpy as np
from jaxtyping import Float, Int

from aligngap.tasks.intervals import Estimate, estimate
from aligngap.tasks.retrieval import expected_hits


def classify(
    image: Float[np.ndarray, "N D"],
    class_text: Sequence[Float[np.ndarray, "_ D"]],
    labels: Int[np.ndarray, "N"],
    clusters: Int[np.ndarray, "N"],
    seed: int,
) -> dict[str, Estimate]:
    """acc1, acc5 and mean_per_class_recall (over the classes that occur), beside chance.

    `class_text[c]` holds the embeddings of class c's templates, `labels` index it, and images of
    one cluster (a concept) are drawn together for the intervals. Ties count by expectation.
    """
    chex.assert_equal_shape([labels, clusters])
    candidates = class_embeddings(class_text)
    count = len(candidates)
    hits = expected_hits(image, candidates, labels, np.arange(count), ks=(1, 5))
    top1, top5 = hits.T
    return {
        "acc1": estimate(top1, clusters, 1 / count, seed),
        "acc5": estimate(top5, clusters, min(5, count) / count, seed),
        "mean_per_class_recall": estimate(top1, clusters, 1 / count, seed, classes=labels),
    }


def class_embeddings(
    class_text: Sequence[Float[np.ndarray, "_ D"]],
) -> Float[np.ndarray, "C D"]:
    """Each class's templates normalised, averaged and normalised again, in float64."""
    return np.stack([_unit(_unit(templates).mean(axis=0)) for templates in class_text])


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1. Zero has no direction and stays zero, so it ties with its like."""
    wide = np.asarray(rows, np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=-1, keepdims=True), 1e-12)
