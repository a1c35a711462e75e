"""Without the leading principal components: n((n(x) − μ)(I − U Uᵀ)).

All-but-the-top (Mu & Viswanath, ICLR 2018, algorithm 1): each modality less its own mean, then
without its D/100 leading components (`components`). One U for all modalities, of the mean of their
covariances, the queries' left out: products of rows lose the same directions on both sides.
"""

import numpy as np
from jaxtyping import Float

from aligngap.gap.transforms import moments
from aligngap.gap.transforms.maps import centring
from aligngap.gap.transforms.methods.contract import Clouds, Fitted, Options, expect_spread


def fit(clouds: Clouds, options: Options) -> Fitted:
    """μ of each modality, and U."""
    found = {name: moments.covariance(rows) for name, rows in clouds.items() if name != "query"}
    for name, (_, matrix) in found.items():
        expect_spread(name, float(np.trace(matrix)))
    matrix = np.mean([each.matrix for each in found.values()], axis=0)
    leading = components(matrix, int(options["components"]))
    without = np.eye(len(matrix)) - leading @ leading.T
    means = {
        name: found[name].mean if name in found else moments.mean(rows)
        for name, rows in clouds.items()
    }
    return {name: (centring(mean, without),) for name, mean in means.items()}


def components(matrix: Float[np.ndarray, "D D"], count: int) -> Float[np.ndarray, "D K"]:
    """The eigenvectors of the largest eigenvalues."""
    return np.linalg.eigh(matrix)[1][:, ::-1][:, :count]
