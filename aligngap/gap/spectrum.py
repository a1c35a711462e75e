"""How many dimensions a cloud uses: measures of the eigenvalues of its covariance.

Those of few rows lie further apart than the population's: ranks are too low, explained variances
too high, and only clouds of as many rows are comparable. `errors` are over samples of as many.
"""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from aligngap.gap.streaming import GROUPS, Spread

POINT = 1e-10  # total variance of unit rows below which float32 cannot tell a cloud from a point
COMPONENTS = (1, 10)  # of the principal components that `explained_variance` sums up


def effective_rank(embeddings: Float[ArrayLike, "N D"]) -> Float[Array, ""]:
    """exp of the entropy of the covariance's normalised eigenvalues (Roy & Vetterli 2007).

    Between 1 (a line, or a single point) and D (the same variance in every direction).
    """
    return jnp.asarray(_effective_rank(shares(covariance(embeddings))), jnp.float32)


def explained_variance(
    embeddings: Float[ArrayLike, "N D"], components: int = 1
) -> Float[Array, ""]:
    """Share of the variance along the first principal components; 1 for a single point."""
    found = shares(covariance(embeddings))[:components].sum()
    return jnp.asarray(found, jnp.float32)


def covariance(embeddings: Float[ArrayLike, "N D"]) -> Float[np.ndarray, "D D"]:
    """E (x − μ)(x − μ)ᵀ."""
    rows = np.asarray(embeddings, np.float32)
    spread = Spread(rows[:GROUPS])
    for start in range(0, len(rows), GROUPS):
        spread.add(rows[start : start + GROUPS])
    return spread.covariance()


def shares(matrix: Float[np.ndarray, "D D"]) -> Float[np.ndarray, "D"]:
    """Eigenvalues of a covariance, largest first, as shares of their sum."""
    return _normalised(np.linalg.eigvalsh(matrix)[::-1])


def values(matrix: Float[np.ndarray, "D D"]) -> dict[str, float]:
    """Every measure of a covariance by its name."""
    return _values(shares(matrix))


def errors(
    matrix: Float[np.ndarray, "D D"],
    rows: Float[np.ndarray, "S D"],
    group: Int[np.ndarray, "S"],
    count: float,
) -> dict[str, float]:
    """The standard error of each of `values` at `count` rows, from a sample of them, of which those
    of a group were drawn together.

    An eigenvalue λ changes with a row x by (u·(x − μ))² − λ to first order (Critchley 1985), a
    smooth function of all of them by its gradient times that: the infinitesimal jackknife.
    """
    eigenvalues, vectors = np.linalg.eigh(matrix)
    eigenvalues, vectors = eigenvalues[::-1], vectors[:, ::-1]
    p, total = _normalised(eigenvalues), eigenvalues.sum()
    names = list(_values(p))
    groups = np.unique(group)
    if total < POINT or len(groups) < 2:
        return dict.fromkeys(names, 0.0)
    projected = (rows - rows.mean(axis=0, dtype=np.float64).astype(np.float32)) @ vectors
    influence = projected**2 @ (_gradients(p) / total)
    deviations = influence - influence.mean(axis=0)
    sums = np.zeros((len(groups), len(names)))
    np.add.at(sums, np.searchsorted(groups, group), deviations)
    spread = np.sqrt((sums**2).sum(axis=0) / (len(rows) * count))
    spread *= np.sqrt(len(groups) / (len(groups) - 1))
    return dict(zip(names, map(float, spread), strict=True))


def _values(p: Float[np.ndarray, "D"]) -> dict[str, float]:
    found = {f"explained_variance@{k}": float(p[:k].sum()) for k in COMPONENTS}
    return {"effective_rank": _effective_rank(p)} | found


def _gradients(p: Float[np.ndarray, "D"]) -> Float[np.ndarray, "D M"]:
    """Of each of `_values` with respect to the eigenvalues, times their sum."""
    logs = np.log(np.maximum(p, 1e-12))
    entropy = -np.sum(p * logs)
    columns = [-np.exp(entropy) * (logs + entropy)]
    for k in COMPONENTS:
        first = np.arange(len(p)) < k
        columns.append(first - p[first].sum())
    return np.stack(columns, axis=1)


def _effective_rank(p: Float[np.ndarray, "D"]) -> float:
    positive = p[p > 0]
    return float(np.exp(-np.sum(positive * np.log(positive))))


def _normalised(eigenvalues: Float[np.ndarray, "D"]) -> Float[np.ndarray, "D"]:
    """Rounding may leave a small eigenvalue below 0; a point has all its share in the first."""
    positive = np.maximum(eigenvalues, 0.0)
    if positive.sum() < POINT:
        return np.eye(1, len(positive))[0]
    return positive / positive.sum()
