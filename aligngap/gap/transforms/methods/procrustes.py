"""Images turned onto the texts that they are paired with: n((n(x) − μ_i) R), texts n(n(y) − μ_t).

Orthogonal Procrustes (Schönemann 1966): of all orthogonal R the one that minimises
Σ‖(x − μ_i) R − (y − μ_t)‖² over pairs is U Vᵀ, of the singular value decomposition U S Vᵀ of
Σ (x − μ_i)ᵀ (y − μ_t). Each further modality is turned onto the texts by an R of its own, from the
same pairs with them.
"""

import numpy as np

from aligngap.gap.transforms import moments
from aligngap.gap.transforms.maps import centring
from aligngap.gap.transforms.methods.contract import Clouds, Fitted, Options


def fit(clouds: Clouds, options: Options) -> Fitted:
    """Means, and R of all that is turned."""
    del options
    maps: Fitted = {}
    for name, rows in clouds.items():
        if name == "query":
            maps[name] = (centring(moments.mean(rows)),)
        elif name != "text":
            own, text, matrix = moments.cross_covariance(rows, clouds["text"])
            left, _, right = np.linalg.svd(matrix)
            maps |= {name: (centring(own, left @ right),), "text": (centring(text),)}
    return maps
