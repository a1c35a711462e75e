"""Object bias: whether things that share an object lie closer together than such as share an
attribute.

MOAD of Schrodi et al. 2025 ("Two effects, one trigger"): (same − different object) − (same −
different attribute), each the mean cosine over pairs of rows of one modality. Their code leaves out
of two classes' rows those pairs that have one index in both; here all pairs count.
"""

import chex
import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from aligngap.errors import AligngapError
from aligngap.intervals import CONFIDENCE, Interval, resampled_counts

RESAMPLES = 1000
LIMITS = {"moad": (-4.0, 4.0), "object": (-2.0, 2.0), "attribute": (-2.0, 2.0)}


def moad(
    rows: Float[np.ndarray, "N D"],
    objects: Int[np.ndarray, "N"],
    attributes: Int[np.ndarray, "N"],
    clusters: Int[np.ndarray, "N"],
    seed: int,
) -> dict[str, Interval]:
    """moad (above 0: objects count for more), and its two differences "object" and "attribute".

    AligngapError where all or none share an object, or an attribute. The interval draws clusters
    (of one it is all that can be); a row is no pair with its own copy. No [N, N] array is held.
    """
    chex.assert_equal_shape([objects, attributes, clusters])
    chex.assert_equal_shape_prefix([rows, objects], 1)
    wide = np.asarray(rows, np.float64)
    for name, labels in (("object", objects), ("attribute", attributes)):
        _check(wide, labels, name)
    kinds = {"object": _members(objects), "attribute": _members(attributes)}
    names, own = np.unique(clusters, return_inverse=True)
    values = _values(wide, kinds, np.ones(len(rows)))
    if len(names) == 1:
        return {name: Interval(x, *LIMITS[name], 0.0) for name, x in values.items()}
    drawn = resampled_counts(len(names), seed, RESAMPLES)
    draws = [_values(wide, kinds, counts[own]) for block in drawn for counts in block]
    tail = (1 - CONFIDENCE) / 2
    found = {}
    for name, value in values.items():
        ends = np.nanquantile([each[name] for each in draws], [tail, 1 - tail])
        found[name] = Interval(value, float(ends[0]), float(ends[1]), 0.0)
    return found


def _values(
    rows: np.ndarray, kinds: dict[str, sparse.csr_array], weights: Float[np.ndarray, "N"]
) -> dict[str, float]:
    found = {name: _difference(rows, chosen, weights) for name, chosen in kinds.items()}
    return {"moad": found["object"] - found["attribute"], **found}


def _difference(rows: np.ndarray, chosen: sparse.csr_array, weights: np.ndarray) -> float:
    """Mean cosine of pairs of one label − of pairs of two; nan where there are none of a kind."""
    weighted = rows * weights[:, None]
    itself = float(np.sum(weighted**2)), float(np.sum(weights**2))  # A row with itself: no pair.
    sums, sizes = chosen @ weighted, chosen @ weights
    same = float(np.sum(sums**2)) - itself[0], float(np.sum(sizes**2)) - itself[1]
    every = float(np.sum(weighted.sum(axis=0) ** 2)) - itself[0], weights.sum() ** 2 - itself[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.divide(same[0], same[1]), np.divide(every[0] - same[0], every[1] - same[1])
    return float(means[0] - means[1])


def _members(labels: np.ndarray) -> sparse.csr_array:
    """[C, N]: 1 where a row has that label."""
    names, own = np.unique(labels, return_inverse=True)
    ones = np.ones(len(labels))
    return sparse.csr_array((ones, (own, np.arange(len(labels)))), (len(names), len(labels)))


def _check(rows: np.ndarray, labels: np.ndarray, name: str) -> None:
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        raise AligngapError(f"embedding {bad[0]} of {len(rows)} is not finite: no cosine")
    count = len(np.unique(labels))
    if count in (1, len(labels)) or not len(labels):
        shared = "all" if count == 1 and len(labels) > 1 else "none"
        raise AligngapError(f"{shared} of {len(labels)} rows share one {name}: no bias to measure")
