"""Object bias: whether things that share an object lie closer together than such as share an
attribute.

MOAD of Schrodi et al. 2025 ("Two effects, one trigger"): (same − different object) − (same −
different attribute), each the mean cosine over pairs of rows of one modality. Their code leaves out
of two classes' rows those pairs that have one index in both; here all pairs count.
"""

from collections.abc import Sequence
from typing import NamedTuple

import chex
import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from aligngap.errors import AligngapError
from aligngap.intervals import CONFIDENCE, Interval, resampled_counts

RESAMPLES = 1000
LIMITS = {"moad": (-4.0, 4.0), "object": (-2.0, 2.0), "attribute": (-2.0, 2.0)}


class Cells(NamedTuple):
    """Rows of one cluster that share a label, added up."""

    total: Float[np.ndarray, "K D"]
    size: Float[np.ndarray, "K"]
    squares: Float[np.ndarray, "K"]  # Sum of ‖x‖².
    cluster: Int[np.ndarray, "K"]
    label: sparse.csr_array  # [C, K]: 1 where a cell has that label.


def moad(
    rows: Float[np.ndarray, "N D"],
    objects: Int[np.ndarray, "N"],
    attributes: Int[np.ndarray, "N"],
    clusters: Int[np.ndarray, "N"],
    seed: int,
) -> dict[str, Interval]:
    """moad (above 0: objects count for more), and its two differences "object" and "attribute".

    AligngapError where all or none share an object, or an attribute. The interval draws clusters
    (of one it is all that can be); rows of two draws of one cluster are no pair, since they may be
    one row and its copy. No [N, N] array is held.
    """
    chex.assert_equal_shape([objects, attributes, clusters])
    chex.assert_equal_shape_prefix([rows, objects], 1)
    wide = np.asarray(rows, np.float64)
    for name, labels in (("object", objects), ("attribute", attributes)):
        _check(wide, labels, name)
    names, own = np.unique(clusters, return_inverse=True)
    every, *kinds = (_cells(wide, own, x) for x in (np.zeros_like(own), objects, attributes))
    values = _values(every, kinds, np.ones(len(names)))
    if len(names) == 1:
        return {name: Interval(x, *LIMITS[name], 0.0) for name, x in values.items()}
    drawn = resampled_counts(len(names), seed, RESAMPLES)
    draws = [_values(every, kinds, counts) for block in drawn for counts in block]
    tail = (1 - CONFIDENCE) / 2
    found = {}
    for name, value in values.items():
        ends = np.nanquantile([each[name] for each in draws], [tail, 1 - tail])
        found[name] = Interval(value, float(ends[0]), float(ends[1]), 0.0)
    return found


def _cells(rows: np.ndarray, clusters: np.ndarray, labels: np.ndarray) -> Cells:
    (cluster, label), own = np.unique([clusters, labels], axis=1, return_inverse=True)
    members = _members(own.reshape(-1))
    squares = members @ np.sum(rows**2, axis=1)
    return Cells(members @ rows, members @ np.ones(len(rows)), squares, cluster, _members(label))


def _values(
    every: Cells, kinds: Sequence[Cells], drawn: Float[np.ndarray, "G"]
) -> dict[str, float]:
    objects, attributes = (_difference(every, same, drawn) for same in kinds)
    return {"moad": objects - attributes, "object": objects, "attribute": attributes}


def _difference(every: Cells, same: Cells, drawn: Float[np.ndarray, "G"]) -> float:
    """Mean cosine of pairs of one label − of pairs of two; nan where there are none of a kind."""
    among, within = _pairs(every, drawn), _pairs(same, drawn)
    (ones, one), (others, other) = within, among - within
    return float(ones / one - others / other) if one and other else np.nan


def _pairs(cells: Cells, drawn: Float[np.ndarray, "G"]) -> Float[np.ndarray, "2"]:
    """Over pairs of one label: the sum of their cosines, and how many they are, each twice."""
    often = drawn[cells.cluster]
    twice = often**2 - often  # Pairs of two draws of a cluster.
    sums, counts = cells.label @ (often[:, None] * cells.total), cells.label @ (often * cells.size)
    cosines = np.sum(sums**2) - twice @ np.sum(cells.total**2, axis=1) - often @ cells.squares
    return np.array([cosines, np.sum(counts**2) - twice @ cells.size**2 - often @ cells.size])


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
