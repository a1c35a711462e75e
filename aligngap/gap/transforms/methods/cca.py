"""Both modalities by what their pairs have in common: images n((n(x) − μ_i) S_i^-½ U P^½), texts
n((n(y) − μ_t) S_t^-½ V P^½).

Canonical correlation analysis (Hotelling 1936): U P Vᵀ is the singular value decomposition of
S_i^-½ C S_t^-½, C = E (x − μ_i)(y − μ_t)ᵀ over pairs, and P holds the correlations. The rows are
what a pair's common cause is expected to be (Bach & Jordan 2005, section 4.1: M = U P^½), so that a
direction counts by how much the modalities agree in it. S is (1 − λ) S + λ tr(S)/D I,
λ = `shrinkage` (a ridge: Vinod 1976), or few pairs would agree in directions by chance.
"""

import numpy as np

from aligngap.gap.transforms import moments
from aligngap.gap.transforms.maps import centring
from aligngap.gap.transforms.methods.contract import Clouds, Fitted, Options, expect_spread
from aligngap.gap.transforms.methods.whiten import power, shrunk


def fit(clouds: Clouds, options: Options) -> Fitted:
    """Means and canonical directions; queries go by the texts', less a mean of their own."""
    image, text, matrix = moments.cross_covariance(clouds["image"], clouds["text"])
    roots = {}
    for name in ("image", "text"):
        own = moments.covariance(clouds[name]).matrix
        expect_spread(name, float(np.trace(own)))
        roots[name] = power(shrunk(own, options["shrinkage"]), -0.5)
    left, correlations, right = np.linalg.svd(roots["image"] @ matrix @ roots["text"])
    weight = np.sqrt(correlations)
    of_texts = roots["text"] @ right.T * weight
    maps: Fitted = {
        "image": (centring(image, roots["image"] @ left * weight),),
        "text": (centring(text, of_texts),),
    }
    if "query" in clouds:
        maps["query"] = (centring(moments.mean(clouds["query"]), of_texts),)
    return maps
