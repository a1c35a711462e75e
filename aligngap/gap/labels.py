"""The gap of each label by itself: of the pairs that carry it."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from aligngap.gap.copies import First
from aligngap.gap.formulas import centroid_distance
from aligngap.gap.streaming import inner


class ByLabel:
    """Accumulates, for each of L labels, the centroids of its pairs and their mean cosine."""

    def __init__(self, names: list[str], width: int) -> None:
        self._names = names
        self._pairs, self._cosines = np.zeros((2, len(names)))
        self._counts = np.zeros((3, len(names)))  # distinct images, texts, pairs
        self._sums = np.zeros((2, len(names), width))  # of images, of texts

    def add(
        self,
        label: Int[np.ndarray, "n"],
        image: Float[np.ndarray, "n D"],
        text: Float[np.ndarray, "n D"],
        first: First,
    ) -> None:
        """Counts in a chunk of pairs, `label` being indices of the names; `first` of each label."""
        rows = np.arange(len(label))
        shape = (len(self._names), len(label))
        counted = [sparse.csr_array((each.astype(float), (label, rows)), shape) for each in first]
        self._pairs += np.bincount(label, minlength=len(self._names))
        for number, chosen in enumerate(counted):
            self._counts[number] += chosen.sum(axis=1)
        self._cosines += counted[2] @ inner(image, text)
        for side, x in enumerate((image, text)):
            self._sums[side] += counted[side] @ x

    def measures(self) -> dict[str, dict[str, Any]]:
        """label → pairs, centroid_distance and alignment_score of its pairs alone."""
        image, text = self._sums / self._counts[:2, :, None]
        distances = centroid_distance(image - text)
        found = zip(self._pairs, distances, self._cosines / self._counts[2], strict=True)
        return {
            name: {
                "pairs": int(count),
                "centroid_distance": float(distance),
                "alignment_score": float(cosine),
            }
            for name, (count, distance, cosine) in zip(self._names, found, strict=True)
        }
