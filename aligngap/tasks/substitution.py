"""One modality in place of the other: a classifier of text embeddings, given images, and back.

Where the gap is closed, a classifier cannot tell what it is given (cross-modal transferability:
Zhang et al. 2023, "Diagnosing and rectifying vision models using language", and C3, Zhang et al.
2024). Each is a linear probe whose λ is chosen on its own modality: the other is never seen.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from aligngap.intervals import Interval
from aligngap.tasks import probe
from aligngap.tasks.labelled import Rows
from aligngap.tasks.logistic_regression import Classifier


class Target(NamedTuple):
    """Rows of one modality to test on; those of a cluster are drawn together."""

    rows: Rows
    clusters: Int[np.ndarray, "N"]


def classifiers(train: Mapping[str, Rows], validation: Mapping[str, Rows]) -> dict[str, Classifier]:
    """Modality → the probe that is trained and chosen on it alone."""
    return {name: probe.choose(rows, validation[name]) for name, rows in train.items()}


def evaluate(
    trained: Mapping[str, Classifier], tested: Mapping[str, Target], seed: int
) -> dict[str, Interval]:
    """acc1 and mean_per_class_recall of "text_to_image" (trained on texts, tested on images),
    "image_to_text", and beside them "image_to_image" and "text_to_text"."""
    return {
        f"{source}_to_{target}/{name.removeprefix('lp_')}": found
        for source, classifier in trained.items()
        for target, test in tested.items()
        for name, found in probe.evaluate(classifier, test.rows, test.clusters, seed).items()
        if name != "lp_acc5"
    }
