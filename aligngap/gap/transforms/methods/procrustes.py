"""Images turned onto the texts that they are paired with: n((n(x) − μ_i) R), texts n(n(y) − μ_t).

Orthogonal Procrustes (Schönemann 1966): of all orthogonal R the one that minimises
Σ‖(x − μ_i) R − (y − μ_t)‖² over pairs is U Vᵀ, of the singular value decomposition U S Vᵀ of
Σ (x − μ_i)ᵀ (y − μ_t).
"""

import numpy as np

from aligngap.gap.transforms import moments
from aligngap.gap.transforms.maps import centring
from aligngap.gap.transforms.methods.contract import Clouds, Fitted, Options


def fit(clouds: Clouds, options: Options) -> Fitted:
    """Means, and R of the images."""
    del options
    image, text, matrix = moments.cross_covariance(clouds["image"], clouds["text"])
    left, _, right = np.linalg.svd(matrix)
    maps: Fitted = {"image": (centring(image, left @ right),), "text": (centring(text),)}
    if "query" in clouds:
        maps["query"] = (centring(moments.mean(clouds["query"])),)
    return maps
