"""Images with the texts' mean and covariance: n((n(x) − μ_i) S_i^-½ S_t^½ + μ_t); texts stay.

CORAL (Sun, Feng & Saenko 2016, algorithm 1), images being the source domain. There rows have mean
0 and S is S + I; rows of length 1 have variances of 1/D, where I would leave nothing of S: it is
(1 − λ) S + λ tr(S)/D I here, λ = `shrinkage`, and the mean moves as well. Queries that are given
are a source too, else they are texts; so is every further modality.
"""

import numpy as np

from aligngap.gap.transforms import moments
from aligngap.gap.transforms.maps import Affine
from aligngap.gap.transforms.methods.contract import Clouds, Fitted, Options, expect_spread
from aligngap.gap.transforms.methods.whiten import power, shrunk


def fit(clouds: Clouds, options: Options) -> Fitted:
    """The affine map of each modality to the texts."""
    found = {name: moments.covariance(rows) for name, rows in clouds.items()}
    roots: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name, (mean, matrix) in found.items():
        expect_spread(name, float(np.trace(matrix)))
        roots[name] = mean, shrunk(matrix, options["shrinkage"])
    target, colour = roots["text"][0], power(roots["text"][1], 0.5)
    maps: Fitted = {
        name: (Affine(mean, power(matrix, -0.5) @ colour, target),)
        for name, (mean, matrix) in roots.items()
    }
    return maps | {"text": ()}
