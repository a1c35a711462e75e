"""Zero-shot classification: the class whose captions lie nearest to the image.

Prompts of a class are averaged as in Radford et al. 2021 (section 3.1.4); measures carry the names
of LAION's CLIP_benchmark.
"""

from collections.abc import Sequence

import chex
import numpy as np
from jaxtyping import Float, Int

from aligngap.intervals import Interval
from aligngap.tasks.intervals import Scores
from aligngap.tasks.retrieval import expected_hits
from aligngap.unit import unit_rows_numpy


def classify(
    image: Float[np.ndarray, "N D"],
    class_text: Sequence[Float[np.ndarray, "_ D"]],
    labels: Int[np.ndarray, "N"],
    clusters: Int[np.ndarray, "N"],
    seed: int,
) -> dict[str, Interval]:
    """Those of `scores`, as measures with intervals. `class_text[c]` holds the embeddings of class
    c's templates."""
    found = scores(image, class_embeddings(class_text), labels, clusters)
    return {name: each.interval(seed) for name, each in found.items()}


def scores(
    image: Float[np.ndarray, "N D"],
    classes: Float[np.ndarray, "C D"],
    labels: Int[np.ndarray, "N"],
    clusters: Int[np.ndarray, "N"],
) -> dict[str, Scores]:
    """acc1, acc5 and mean_per_class_recall (over the classes that occur), beside chance.

    `labels` index the classes' L2-normalised embeddings, and images of one cluster (a group) are
    drawn together for the intervals. Ties count by expectation.
    """
    chex.assert_equal_shape([labels, clusters])
    count = len(classes)
    top1, top5 = expected_hits(image, classes, labels, np.arange(count), ks=(1, 5)).T
    return {
        "acc1": Scores(top1, clusters, 1 / count),
        "acc5": Scores(top5, clusters, min(5, count) / count),
        "mean_per_class_recall": Scores(top1, clusters, 1 / count, labels),
    }


def class_embeddings(
    class_text: Sequence[Float[np.ndarray, "_ D"]],
) -> Float[np.ndarray, "C D"]:
    """Each class's templates normalised, averaged and normalised again, in float64."""
    wide = (np.asarray(templates, np.float64) for templates in class_text)
    # Templates that cancel out leave zero, which stays zero and ties with its like.
    means = (unit_rows_numpy(templates).mean(axis=0) for templates in wide)
    return np.stack([unit_rows_numpy(mean) for mean in means])
