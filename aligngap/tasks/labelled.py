"""Embeddings with the classes that tasks learn and are measured by."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Rows(NamedTuple):
    """Features with a class each, any whole number."""

    features: Float[np.ndarray, "N D"]
    labels: Int[np.ndarray, "N"]

    def take(self, rows: np.ndarray) -> "Rows":
        """Some of them."""
        return Rows(self.features[rows], self.labels[rows])
