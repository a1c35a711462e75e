"""Means and covariances over rows of any number: one pass, sums in float64."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from aligngap.gap.transforms.maps import Map, through
from aligngap.gap.transforms.rows import Rows

Products = tuple[Float[np.ndarray, "D"], Float[np.ndarray, "D"], Float[np.ndarray, "D D"]]


class Spread(NamedTuple):
    """A mean, and the variance around it of each dimension."""

    mean: Float[np.ndarray, "D"]
    variance: Float[np.ndarray, "D"]


class Covariance(NamedTuple):
    """A mean, and E (x − μ)(x − μ)ᵀ around it."""

    mean: Float[np.ndarray, "D"]
    matrix: Float[np.ndarray, "D D"]


def mean(rows: Rows, maps: Sequence[Map] = ()) -> Float[np.ndarray, "D"]:
    """That of the rows, or of what maps make of them."""
    total, start = np.zeros(rows.width), 0
    for chunk in rows.chunks("Averaging"):
        total += through(maps, chunk, start, rows.source.given).sum(axis=0)
        start += len(chunk)
    return total / rows.count


def spread(rows: Rows) -> Spread:
    """Around the first chunk's mean, lest a narrow cone cancel."""
    origin, total, squares = np.zeros(rows.width), np.zeros(rows.width), np.zeros(rows.width)
    for number, chunk in enumerate(rows.chunks("Measuring")):
        wide = chunk.astype(np.float64)
        origin = origin if number else wide.mean(axis=0)
        total += (wide - origin).sum(axis=0)
        squares += ((wide - origin) ** 2).sum(axis=0)
    moved = total / rows.count
    return Spread(origin + moved, np.maximum(squares / rows.count - moved**2, 0))


def covariance(rows: Rows) -> Covariance:
    """Likewise."""
    mean, _, matrix = _products((chunk, chunk) for chunk in rows.chunks("Measuring"))
    return Covariance(mean, matrix)


def cross_covariance(a: Rows, b: Rows) -> Products:
    """(μ_a, μ_b, E (a − μ_a)(b − μ_b)ᵀ) over pairs: row i of both."""
    return _products(zip(a.chunks("Measuring"), b.chunks("Measuring"), strict=True))


def _products(chunks: Iterable[tuple[np.ndarray, np.ndarray]]) -> Products:
    count = 0
    for pair in chunks:
        wide = [chunk.astype(np.float64) for chunk in pair]
        if not count:
            origins = np.stack([chunk.mean(axis=0) for chunk in wide])
            totals, products = np.zeros_like(origins), np.zeros(2 * origins.shape[1:])
        x, y = (chunk - origin for chunk, origin in zip(wide, origins, strict=True))
        totals += x.sum(axis=0), y.sum(axis=0)
        products += x.T @ y
        count += len(x)
    moved = totals / count
    means = origins + moved
    return means[0], means[1], products / count - np.outer(*moved)
