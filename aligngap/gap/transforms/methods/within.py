"""Directions by how little the modalities differ in them: n((n(x) − μ) S_w^-½), one S_w for all.

Within-class covariance normalisation (Hatch, Kajarekar & Stolcke 2006), each pair being a class of
two: S_w = E (d dᵀ) / 4, d = (x − μ_i) − (y − μ_t) over pairs. S is (1 − λ) S + λ tr(S)/D I,
λ = `shrinkage`; of λ = 1 mean-centring is left.
"""

import numpy as np

from aligngap.gap.transforms import moments
from aligngap.gap.transforms.maps import centring
from aligngap.gap.transforms.methods.contract import Clouds, Fitted, Options, expect_spread
from aligngap.gap.transforms.methods.whiten import power, shrunk


def fit(clouds: Clouds, options: Options) -> Fitted:
    """μ of each modality, and the root that they share."""
    image, text, cross = moments.cross_covariance(clouds["image"], clouds["text"])
    own = [moments.covariance(clouds[name]).matrix for name in ("image", "text")]
    apart = (own[0] + own[1] - cross - cross.T) / 4
    expect_spread("image and text", float(np.trace(apart)))
    root = power(shrunk(apart, options["shrinkage"]), -0.5)
    means = {"image": image, "text": text}
    if "query" in clouds:
        means["query"] = moments.mean(clouds["query"])
    return {name: (centring(mean, root),) for name, mean in means.items()}
