"""Arithmetic across modalities: an image, less one word, plus another, should be near the image of
what that makes.

SIMAT (Couairon et al. 2022), as Fahim et al. 2024 measure it: query = image + λ · (target word −
source word); a hit when the nearest image other than itself shows the target; changes count
1 / √(how often their two words occur together), so that common ones do not rule.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import chex
import numpy as np
from jaxtyping import Float, Int

from aligngap.errors import AligngapError
from aligngap.intervals import Interval
from aligngap.tasks.intervals import estimate
from aligngap.tasks.standings import SCORES_AT_ONCE, TIE

SCALES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)


class Changes(NamedTuple):
    """Q changes: the row of an image, those of two words, and the label that is wanted."""

    image: Int[np.ndarray, "Q"]
    source: Int[np.ndarray, "Q"]
    target: Int[np.ndarray, "Q"]
    wanted: Int[np.ndarray, "Q"]


def evaluate(
    image: Float[np.ndarray, "N D"],
    labels: Int[np.ndarray, "N"],
    words: Float[np.ndarray, "W D"],
    changes: Changes,
    clusters: Int[np.ndarray, "N"],
    seed: int,
    scales: Sequence[float] = SCALES,
) -> dict[float, Interval]:
    """λ → weighted share of hits; λ = 0 is the nearest other image, with nothing changed.

    Embeddings are L2-normalised. Candidates that tie share the hit; chance is any other image. The
    interval draws images by their clusters. AligngapError where no image has a wanted label.
    """
    chex.assert_equal_shape_prefix([image, labels, clusters], 1)
    chex.assert_equal_shape(list(changes))
    _check(image, labels, words, changes)
    weights = _weights(changes)
    counts = np.array([np.sum(labels == label) for label in changes.wanted])
    others = counts - (labels[changes.image] == changes.wanted)
    chance = float(np.average(others / (len(labels) - 1), weights=weights))
    groups = clusters[changes.image]
    return {
        scale: estimate(
            hits(image, labels, words, changes, scale), groups, chance, seed, weights=weights
        )
        for scale in scales
    }


def hits(
    image: Float[np.ndarray, "N D"],
    labels: Int[np.ndarray, "N"],
    words: Float[np.ndarray, "W D"],
    changes: Changes,
    scale: float,
) -> Float[np.ndarray, "Q"]:
    """For each change, the share of its nearest other images that have the wanted label."""
    rows, meaning = np.asarray(image, np.float64), np.asarray(words, np.float64)
    queries = rows[changes.image] + scale * (meaning[changes.target] - meaning[changes.source])
    return np.concatenate(list(_blocks(queries, rows, labels, changes)))


def _blocks(
    queries: np.ndarray, rows: np.ndarray, labels: np.ndarray, changes: Changes
) -> Iterator[Float[np.ndarray, "q"]]:
    step = max(1, SCORES_AT_ONCE // len(rows))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        scores = queries[part] @ rows.T
        scores[np.arange(len(scores)), changes.image[part]] = -np.inf
        nearest = scores >= scores.max(axis=1, keepdims=True) - TIE
        right = labels[None] == changes.wanted[part, None]
        yield (nearest & right).sum(axis=1) / nearest.sum(axis=1)


def _weights(changes: Changes) -> Float[np.ndarray, "Q"]:
    words = np.stack([changes.source, changes.target], axis=1)
    _, own, counts = np.unique(words, axis=0, return_inverse=True, return_counts=True)
    found: np.ndarray = 1 / np.sqrt(counts[own.reshape(-1)])
    return found


def _check(image: np.ndarray, labels: np.ndarray, words: np.ndarray, changes: Changes) -> None:
    if not len(changes.image) or len(image) < 2:
        raise AligngapError(f"{len(changes.image)} changes of {len(image)} images: none to measure")
    for rows, what in ((image, "image"), (words, "word")):
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if bad.size:
            raise AligngapError(f"{what} {bad[0]} of {len(rows)} is not finite: nothing to rank")
    missing = np.flatnonzero(~np.isin(changes.wanted, labels))
    if missing.size:
        raise AligngapError(f"change {missing[0]}: no image has the label that it wants")
