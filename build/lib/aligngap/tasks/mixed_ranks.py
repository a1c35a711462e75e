"""Where a document comes in a pool whose items each stand once, as image or as text, at random.

An item's image comes before the document, ties with it, or comes behind; so does its text. Ties are
broken at random: given u, uniform in [0, 1] and the document's own, each that ties comes before it
with probability u. So given u each item is before it, independently, with probability
p · [image] + (1 − p) · [text], each of the two 0, u or 1, and how many are is a sum of nine
binomials, one for each pair of standings. Means over u are integrals of polynomials.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int

BEHIND, TIED, AHEAD = range(3)
STANDINGS = 9  # 3 · (of an item's image) + (of its text).
BOTH_TIED = 3 * TIED + TIED
NODES = 12  # Of Gauss-Legendre in a panel: exact for polynomials of degree 23.
AT_ONCE = 2**21  # elements of the largest array held: 16 MiB

Counts = Int[np.ndarray, "n 9"]  # How many items have each pair of standings.
Standings = TypeVar("Standings", int, np.ndarray)


def standing(image: Standings, text: Standings) -> Standings:
    """The place in `Counts` of an item whose image and text stand so to a document."""
    return 3 * image + text


def places(others: Counts, share: float, k: int) -> Float[np.ndarray, "n k"]:
    """Chance that the document takes each of the first k places, where items are images with
    probability `share`."""

    def of(rows: Counts, u: np.ndarray) -> Float[np.ndarray, "m U k"]:
        ahead = _chances(share, u)
        found = np.zeros((len(rows), len(u), k))
        found[..., 0] = 1
        for each in np.flatnonzero(rows.any(axis=0)):
            found = _sum(found, binomial(rows[:, each], ahead[each], k))
        return found

    return _means(others, others, k, of)


def reciprocal(others: Counts, right: Counts, share: float) -> Float[np.ndarray, "n"]:
    """Mean of 1 / place over the pools in which all the `right` ones stay behind the document, and
    0 in the rest: its part of the reciprocal rank of the first right one.

    Of a number X it is ∫ E (1 − w)^X dw over w in [0, 1], since ∫ s^X ds = 1 / (X + 1).
    """
    w, weights = panels(int(others.sum(axis=1).max(initial=0)))

    def of(rows: Int[np.ndarray, "m 18"], u: np.ndarray) -> Float[np.ndarray, "m U 1"]:
        ahead = _chances(share, u)
        missed = np.log(np.maximum(1 - ahead, np.finfo(float).tiny))  # [9 U]
        kept = np.log1p(-ahead[..., None] * w)  # [9 U W]
        exponents = rows[:, :STANDINGS] @ kept.reshape(STANDINGS, -1)
        exponents = exponents.reshape(len(rows), len(u), len(w))
        exponents += (rows[:, STANDINGS:] @ missed)[..., None]
        return np.exp(exponents) @ weights[:, None]

    return _means(np.concatenate([others, right], axis=1), others + right, len(w), of)[:, 0]


def binomial(
    counts: Int[np.ndarray, "n"], chances: Float[np.ndarray, "U"], k: int
) -> Float[np.ndarray, "n U k"]:
    """Probabilities of 0 to k − 1 of a binomial; 0 where that is more than its count."""
    numbers = np.arange(k)
    factors = np.maximum(counts[:, None] - numbers[1:] + 1, 0) / numbers[1:]
    ways = np.cumprod(np.concatenate([np.ones((len(counts), 1)), factors], axis=1), axis=1)
    rest = np.maximum(counts[:, None] - numbers, 0)
    hits = chances[:, None] ** numbers
    found: np.ndarray = ways[:, None] * hits * (1 - chances[:, None]) ** rest[:, None]
    return found


def panels(degree: int) -> tuple[Float[np.ndarray, "U"], Float[np.ndarray, "U"]]:
    """Nodes and weights of integrals over [0, 1] of x^k (1 − c x)^(degree − k), 0 ≤ c ≤ 1.

    One panel where it is exact; beyond, panels that halve towards 0, where these functions are
    narrow, down to 1 / degree: errors are below 1e-12 of the integral.
    """
    x, weights = np.polynomial.legendre.leggauss(NODES)
    halvings = 0 if degree < 2 * NODES else math.ceil(math.log2(degree))
    edges = np.concatenate([[0.0], 0.5 ** np.arange(halvings, -1, -1)])
    low, width = edges[:-1, None], np.diff(edges)[:, None]
    return (low + width * (1 + x) / 2).ravel(), (width * weights / 2).ravel()


def _chances(share: float, u: Float[np.ndarray, "U"]) -> Float[np.ndarray, "9 U"]:
    """That an item of each pair of standings comes before the document."""
    ahead = np.stack([np.zeros_like(u), u, np.ones_like(u)])
    return np.concatenate([share * image + (1 - share) * ahead for image in ahead])


def _sum(
    one: Float[np.ndarray, "n U k"], other: Float[np.ndarray, "n U k"]
) -> Float[np.ndarray, "n U k"]:
    """Probabilities of the sum of two independent numbers, below k."""
    found = np.zeros_like(one)
    for number in range(one.shape[-1]):
        found[..., number:] += one[..., number, None] * other[..., : one.shape[-1] - number]
    return found


def _means(
    rows: np.ndarray,
    all_others: Counts,
    width: int,
    of: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Means over u of a function of each row; equal rows are worked out once, and rows with about
    as many ties together. `width`: elements that it needs for a row and a u."""
    distinct, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    ties = _ties(all_others[first])
    found: list[np.ndarray] = []
    order: list[np.ndarray] = []
    for some, most in _alike(ties):
        u, weights = panels(most)
        step = max(1, AT_ONCE // (len(u) * width))
        for start in range(0, len(some), step):
            part = of(distinct[some[start : start + step]], u)
            found.append(np.einsum("nuk,u->nk", part, weights))
        order.append(some)
    back = np.argsort(np.concatenate(order))
    means: np.ndarray = np.concatenate(found)[back][inverse.reshape(-1)]
    return means


def _ties(counts: Counts) -> Int[np.ndarray, "n"]:
    """How many items may tie with the document."""
    tied = [
        standing(image, text)
        for image, text in itertools.product(range(3), repeat=2)
        if TIED in (image, text)
    ]
    found: np.ndarray = counts[:, tied].sum(axis=1)
    return found


def _alike(ties: Int[np.ndarray, "n"]) -> Iterator[tuple[Int[np.ndarray, "m"], int]]:
    """Rows whose ties need the same panels, and the most of them."""
    needed = np.where(ties < 2 * NODES, 0, np.ceil(np.log2(np.maximum(ties, 1))))
    for each in np.unique(needed):
        rows = np.flatnonzero(needed == each)
        yield rows, int(ties[rows].max())
