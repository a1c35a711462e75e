"""The measures that follow from means over pairs: one formula each, for JAX and for NumPy.

`measures` has the two clouds at hand, in float32; `clouds` has sums over a stream of pairs in
float64, and over R resamples of it (leading axes, *R). Both come here with what the formula needs.
"""

from typing import TypeVar

import jax
import numpy as np

Numbers = TypeVar("Numbers", jax.Array, np.ndarray)


def centroid_distance(vector: Numbers) -> Numbers:
    """‖Δ‖ of gap vectors Δ [*R, D], in [0, 2]: the gap of Liang et al. 2022."""
    norm = vector.__array_namespace__().linalg.norm
    return norm(vector, axis=-1)


def mean_pairwise_cosine(total: Numbers, own: Numbers, distinct: Numbers | int) -> Numbers:
    """Mean of x_i·x_j over the `distinct` ordered pairs of different rows (Liang et al. 2022).

    Σ_{i≠j} x_i·x_j = ‖Σ x_i‖² − Σ ‖x_i‖²: linear in N. `total` [*R, D] is the sum of all rows,
    `own` [*R] that of the products that are no two rows.
    """
    return ((total**2).sum(axis=-1) - own) / distinct


def relative_modality_gap(paired: Numbers, image: Numbers, text: Numbers) -> Numbers:
    """m / (m + ½(d_I + d_T)), d = (1 − cos)/2: pairs against one modality (Schrodi et al. 2025).

    Of the mean cosines of pairs, and of two different rows of images and of texts.
    """
    between, within = (1 - paired) / 2, (2 - image - text) / 4
    return between / (between + within)
