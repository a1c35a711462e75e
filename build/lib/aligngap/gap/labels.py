"""The gap of each label by itself: of the pairs that carry it."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from aligngap.gap.formulas import centroid_distance
from aligngap.gap.streaming import inner


class ByLabel:
    """Accumulates, for each of L labels, the centroids of its pairs and their mean cosine."""

    def __init__(self, names: list[str], width: int) -> None:
        self._names = names
        self._counts, self._cosines = np.zeros(len(names)), np.zeros(len(names))
        self._gaps = np.zeros((len(names), width))  # sums of image − text

    def add(
        self,
        label: Int[np.ndarray, "n"],
        image: Float[np.ndarray, "n D"],
        text: Float[np.ndarray, "n D"],
    ) -> None:
        """Counts in a chunk of pairs, `label` being indices of the names."""
        rows = np.arange(len(label))
        shape = (len(self._names), len(label))
        chosen = sparse.csr_array((np.ones(len(label)), (label, rows)), shape)
        self._counts += chosen @ np.ones(len(label))
        self._cosines += chosen @ inner(image, text)
        self._gaps += chosen @ (image - text)

    def measures(self) -> dict[str, dict[str, Any]]:
        """label → pairs, centroid_distance and alignment_score of its pairs alone."""
        distances = centroid_distance(self._gaps) / self._counts
        found = zip(self._counts, distances, self._cosines / self._counts, strict=True)
        return {
            name: {
                "pairs": int(count),
                "centroid_distance": float(distance),
                "alignment_score": float(cosine),
            }
            for name, (count, distance, cosine) in zip(self._names, found, strict=True)
        }
