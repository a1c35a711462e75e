"""Texts with the images' mean and trace: ReAlign, from rows that need not be paired; images stay.

With T = E‖x − μ‖² and s = √(T_i / (T_t + 1e-10)): e₁ = n(μ_i + s (n(x) − μ_t)), then
e₂ = n(e₁ − E e₁ + μ_i), since normalising moves the mean. Formulas: the authors' paper and code.
Queries that are given have a mean and a trace of their own, else they are texts; further modalities
have their own.
"""

import numpy as np

from aligngap.gap.transforms import moments
from aligngap.gap.transforms.maps import Affine
from aligngap.gap.transforms.methods.contract import Clouds, Fitted, Options, expect_spread

EPSILON = 1e-10


def fit(clouds: Clouds, options: Options) -> Fitted:
    """Two affine maps of each modality to the images: the second needs a second pass."""
    del options
    target, variance = moments.spread(clouds["image"])
    trace = float(variance.sum())
    expect_spread("image", trace)
    maps: Fitted = {"image": ()}
    for name, rows in clouds.items():
        if name == "image":
            continue
        mean, own = moments.spread(rows)
        scale = np.asarray(np.sqrt(trace / (float(own.sum()) + EPSILON)))
        first = Affine(mean, scale, target)
        drifted = moments.mean(rows, [first])
        maps[name] = (first, Affine(drifted, np.asarray(1.0), target))
    return maps
