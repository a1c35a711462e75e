"""What the texts' principal components hold of a row: n(n(x) U Uᵀ), no mean taken away.

arXiv 2603.16100, the rebuttal of IsoCLIP: U are the D/2 leading eigenvectors (`components`) of the
texts' centred covariance; there the texts are class names, and images alone are projected, for
image-to-image search. Here every modality is, so that rows stay comparable.
"""

import numpy as np

from aligngap.gap.transforms import moments
from aligngap.gap.transforms.maps import centring
from aligngap.gap.transforms.methods.contract import Clouds, Fitted, Options, expect_spread
from aligngap.gap.transforms.methods.principal import components


def fit(clouds: Clouds, options: Options) -> Fitted:
    """U, of the texts alone."""
    _, matrix = moments.covariance(clouds["text"])
    expect_spread("text", float(np.trace(matrix)))
    kept = components(matrix, int(options["components"]))
    step = centring(np.zeros(len(matrix)), kept @ kept.T)
    return dict.fromkeys(clouds, (step,))
