"""Each dimension of each modality at mean 0 and deviation 1: n((n(x) − μ) / σ).

The z-score by modality, without the trained scale and shift of I0T-async's BatchNorm (An et al.
2025).
"""

import numpy as np

from aligngap.gap.transforms import moments
from aligngap.gap.transforms.maps import centring
from aligngap.gap.transforms.methods.contract import Clouds, Fitted, Options, expect_spread

CONSTANT = 1e-6  # deviations below this share of the largest are float32's rounding


def fit(clouds: Clouds, options: Options) -> Fitted:
    """μ and σ of each modality; a dimension in which nothing differs is left out."""
    del options
    found: Fitted = {}
    for name, rows in clouds.items():
        mean, variance = moments.spread(rows)
        expect_spread(name, float(variance.sum()))
        deviation = np.sqrt(variance)
        moving = deviation > CONSTANT * deviation.max()
        weight = np.where(moving, 1 / np.where(moving, deviation, 1), 0)
        found[name] = (centring(mean, weight),)
    return found
