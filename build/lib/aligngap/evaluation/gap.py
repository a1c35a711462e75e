"""config.evaluators.gap = {"type": "gap", "split": "validation", "every_steps": 1000}

The measures of the modality gap between images and their own texts: with intervals all of
`gap.summary`, while training those two that cost nothing.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Int

from aligngap import gap
from aligngap.evaluation.evaluator import Evaluator, Value
from aligngap.gap.intervals import intervals

SEED = 0  # Of what is drawn from a split: the same for every run, so that runs compare.


class Gap(Evaluator):
    """One image a group is measured with intervals: a text that stood there once for each of its
    images would count as pairs of texts."""

    PRINTED = ("centroid_distance", "alignment_score")

    def __call__(self, params: Any) -> Iterator[tuple[str, Value]]:
        image, text = self.model.embedded(params, self.entry.split)
        own = text[self.data.image_text]
        if not self.model.intervals:
            yield "centroid_distance", float(gap.centroid_distance(image, own))
            yield "alignment_score", float(gap.alignment_score(image, own))
            return
        pairs = one_image_a_group(self.data.image_group)
        yield from intervals(image[pairs], own[pairs], seed=SEED).items()


def one_image_a_group(group: Int[np.ndarray, "N"]) -> Int[np.ndarray, "G"]:
    """A row of each group, drawn with a fixed seed."""
    order = np.random.default_rng(SEED).permutation(len(group))
    _, first = np.unique(group[order], return_index=True)
    return np.sort(order[first])
