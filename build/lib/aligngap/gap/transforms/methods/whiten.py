"""Each modality at covariance I: n((n(x) − μ) S^-½), S^-½ symmetric (ZCA).

Kessy, Lewin & Strimmer 2018 (arXiv 1512.00809), equation 5: of all whitenings the one that stays
nearest to the rows, so that axes of both modalities keep their meaning. S is (1 − λ) S + λ tr(S)/D
I, λ = `shrinkage`, lest directions without variance be all that is left.
"""

import numpy as np
from jaxtyping import Float

from aligngap.gap.transforms import moments
from aligngap.gap.transforms.maps import centring
from aligngap.gap.transforms.methods.contract import Clouds, Fitted, Options, expect_spread


def fit(clouds: Clouds, options: Options) -> Fitted:
    """μ and S^-½ of each modality."""
    found: Fitted = {}
    for name, rows in clouds.items():
        mean, matrix = moments.covariance(rows)
        expect_spread(name, float(np.trace(matrix)))
        found[name] = (centring(mean, power(shrunk(matrix, options["shrinkage"]), -0.5)),)
    return found


def shrunk(matrix: Float[np.ndarray, "D D"], share: float) -> Float[np.ndarray, "D D"]:
    """(1 − λ) S + λ tr(S)/D I (Ledoit & Wolf 2004, with λ given)."""
    even = np.trace(matrix) / len(matrix) * np.eye(len(matrix))
    mixed: np.ndarray = (1 - share) * matrix + share * even
    return mixed


def power(matrix: Float[np.ndarray, "D D"], exponent: float) -> Float[np.ndarray, "D D"]:
    """S^exponent, symmetric; directions without variance stay without any."""
    values, vectors = np.linalg.eigh(matrix)
    there = values > len(values) * np.finfo(np.float64).eps * values[-1]
    powers = np.where(there, np.where(there, values, 1) ** exponent, 0)
    return (vectors * powers) @ vectors.T
