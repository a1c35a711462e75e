"""Images as what is expected of their texts: n((n(x) − μ_i) B), texts n(n(y) − μ_t).

Ridge regression (Hoerl & Kennard 1970) towards the identity: B minimises the sum over pairs of
‖(x − μ_i) B − (y − μ_t)‖² plus a penalty on ‖B − I‖². It is M⁻¹ ((1 − λ) C + λ t I) with
M = (1 − λ) S + λ t I, S and C the images' covariance and that with texts, t = tr(S)/D and
λ = `shrinkage`; of λ = 1 mean-centring is left. Each further modality has a B of its own, from the
same pairs with the texts.
"""

import numpy as np

from aligngap.gap.transforms import moments
from aligngap.gap.transforms.methods.contract import Clouds, Fitted, Options, expect_spread
from aligngap.gap.transforms.methods.onto_texts import Matrix, onto_texts
from aligngap.gap.transforms.methods.whiten import shrunk
from aligngap.gap.transforms.rows import Rows


def fit(clouds: Clouds, options: Options) -> Fitted:
    """Means, and B of all that is moved."""
    share = options["shrinkage"]

    def regression(name: str, rows: Rows, cross: Matrix) -> Matrix:
        own = moments.covariance(rows).matrix
        expect_spread(name, float(np.trace(own)))
        even = np.trace(own) / len(own) * np.eye(len(own))
        return np.linalg.solve(shrunk(own, share), (1 - share) * cross + share * even)

    return onto_texts(clouds, regression)
