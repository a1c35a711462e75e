"""Modalities moved onto the texts that they are paired with, each by a matrix of its own."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from aligngap.gap.transforms import moments
from aligngap.gap.transforms.maps import centring
from aligngap.gap.transforms.methods.contract import Clouds, Fitted
from aligngap.gap.transforms.rows import Rows

Matrix = Float[np.ndarray, "D D"]


def onto_texts(clouds: Clouds, matrix: Callable[[str, Rows, Matrix], Matrix]) -> Fitted:
    """Means, and of all but texts and queries what `matrix` makes of a modality's name, its rows
    and their covariance with the texts."""
    maps: Fitted = {}
    for name, rows in clouds.items():
        if name == "query":
            maps[name] = (centring(moments.mean(rows)),)
        elif name != "text":
            mean, text, cross = moments.cross_covariance(rows, clouds["text"])
            maps |= {name: (centring(mean, matrix(name, rows, cross)),), "text": (centring(text),)}
    return maps
