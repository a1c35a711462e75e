"""Images turned onto the texts that they are paired with: n((n(x) − μ_i) R), texts n(n(y) − μ_t).

Orthogonal Procrustes (Schönemann 1966): of all orthogonal R the one that minimises
Σ‖(x − μ_i) R − (y − μ_t)‖² over pairs is U Vᵀ, of the singular value decomposition U S Vᵀ of
Σ (x − μ_i)ᵀ (y − μ_t). Each further modality is turned onto the texts by an R of its own, from the
same pairs with them.
"""

import numpy as np

from aligngap.gap.transforms.methods.contract import Clouds, Fitted, Options
from aligngap.gap.transforms.methods.onto_texts import Matrix, onto_texts
from aligngap.gap.transforms.rows import Rows


def fit(clouds: Clouds, options: Options) -> Fitted:
    """Means, and R of all that is turned."""
    del options
    return onto_texts(clouds, _rotation)


def _rotation(name: str, rows: Rows, cross: Matrix) -> Matrix:
    del name, rows
    left, _, right = np.linalg.svd(cross)
    return left @ right
