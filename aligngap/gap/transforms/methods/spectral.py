"""Spectral joint embedding (Role et al. 2025): rows of eigenvectors of a graph of both modalities.

The graph is [[0, W], [Wᵀ, 0]], W = max(V Tᵀ, 0); the k eigenvectors (`eigenvectors`) are those of
the smallest eigenvalues of I − D⁻¹ [[0, W], [Wᵀ, 0]] above 0, rows normalised. A weight below 0 has
no random walk: negative cosines count as no edge. It is transductive; a row that was not fitted has
its place by Nyström's extension (`maps.Graph`), which for a fitted row is the eigenvector itself.
The graph has two sides: there is no place for a third modality.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import svds

from aligngap.errors import AligngapError
from aligngap.gap.transforms.maps import Graph
from aligngap.gap.transforms.methods.contract import Clouds, Fitted, Options


class Eigenvectors(NamedTuple):
    """Those of the random-walk Laplacian, not yet normalised by row."""

    image: Float[np.ndarray, "N K"]
    text: Float[np.ndarray, "M K"]
    values: Float[np.ndarray, "K"]
    clipped: float  # share of cosines that were below 0


def fit(clouds: Clouds, options: Options) -> Fitted:
    """Both modalities' rows, and the eigenvectors' entries at the other one's."""
    image, text = clouds["image"].all(), clouds["text"].all()
    found = eigenvectors(image, text, int(options["eigenvectors"]))
    # φ_x = Σ_j w_xj ψ_j / (d_x σ), σ = 1 − λ; d_x is gone once rows are normalised.
    sigma = 1 - found.values
    return {
        "image": (Graph(text, found.text / sigma),),
        "text": (Graph(image, found.image / sigma),),
    }


def eigenvectors(
    image: Float[np.ndarray, "N D"], text: Float[np.ndarray, "M D"], k: int
) -> Eigenvectors:
    """The graph has two sides, so they are singular vectors of D₁^-½ W D₂^-½; the constant one is
    left out. AligngapError names a row without an edge."""
    cosines = image @ text.T
    weights = np.maximum(cosines, 0)
    degrees = weights.sum(axis=1), weights.sum(axis=0)
    for side, degree in zip(("image", "text"), degrees, strict=True):
        if (alone := np.flatnonzero(degree <= 0)).size:
            raise AligngapError(f"{side} row {alone[0]} has no positive cosine: no edge to follow")
    left, right = (1 / np.sqrt(degree)[:, None] for degree in degrees)
    start = np.ones(min(weights.shape))  # ARPACK's own start is random
    u, values, vt = svds(left * weights * right.T, k=k + 1, v0=start)
    order = np.argsort(-values)[1:]
    clipped = float((cosines < 0).mean())
    return Eigenvectors(left * u[:, order], right * vt.T[:, order], 1 - values[order], clipped)
