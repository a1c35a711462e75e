"""Where a document comes in a pool whose items each stand once, in one of M modalities, at random.

An item's image comes before the document, ties with it, or comes behind; so does its text, and what
else it may stand as. Ties are broken at random: given u, uniform in [0, 1] and the document's own,
each that ties comes before it with probability u. So given u each item is before it, independently,
with probability Σ_m w_m · [it is before in m], w_m the share of items that are in m, each bracket
0, u or 1; and how many are is a sum of 3^M binomials, one for each way to stand in all. Means over
u are integrals of polynomials.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int

BEHIND, TIED, AHEAD = range(3)
NODES = 12  # Of Gauss-Legendre in a panel: exact for polynomials of degree 23.
AT_ONCE = 2**21  # elements of the largest array held: 16 MiB

Counts = Int[np.ndarray, "n 3**M"]  # How many items stand so in each of the modalities.
Shares = Sequence[float]  # Of M modalities: their sum is 1.
Standings = TypeVar("Standings", int, np.ndarray)


def standing(*each: Standings) -> Standings:
    """The place in `Counts` of an item that stands so to a document in each of its modalities."""
    return functools.reduce(lambda found, one: 3 * found + one, each)


def only(
    counts: Int[np.ndarray, "*n 3**M"], modalities: int, kept: Sequence[int]
) -> Int[np.ndarray, "*n 3**K"]:
    """Counts by how items stand in some of M modalities, named in order."""
    rest = tuple(each - modalities for each in range(modalities) if each not in kept)
    found: np.ndarray = counts.reshape(*counts.shape[:-1], *[3] * modalities).sum(axis=rest)
    return found.reshape(*counts.shape[:-1], -1)


def in_any_order(counts: Int[np.ndarray, "*n 3**M"], modalities: int) -> Int[np.ndarray, "*n 3**M"]:
    """The same where all shares are equal: which modality stands how makes no difference, and rows
    that are alike so are worked out once."""
    found = np.zeros_like(counts)
    for place, each in enumerate(itertools.product(range(3), repeat=modalities)):
        found[..., standing(*sorted(each))] += counts[..., place]
    return found


def places(others: Counts, shares: Shares, k: int) -> Float[np.ndarray, "n k"]:
    """Chance that the document takes each of the first k places, where items stand in each modality
    with its share as probability."""

    def of(rows: Counts, u: np.ndarray) -> Float[np.ndarray, "m U k"]:
        return how_many(rows, _chances(shares, u), k)

    return _means(others, _ties(others, len(shares)), k, of)


def how_many(
    rows: Int[np.ndarray, "n C"], chances: Float[np.ndarray, "C U"], k: int
) -> Float[np.ndarray, "n U k"]:
    """Probabilities of 0 to k − 1 of the sum of C binomials, each with its number of trials and its
    chance."""
    found = np.zeros((len(rows), chances.shape[1], k))
    found[..., 0] = 1
    for each in np.flatnonzero(rows.any(axis=0)):
        found = _sum(found, binomial(rows[:, each], chances[each], k))
    return found


def reciprocal(others: Counts, right: Counts, shares: Shares) -> Float[np.ndarray, "n"]:
    """Mean of 1 / place over the pools in which all the `right` ones stay behind the document, and
    0 in the rest: its part of the reciprocal rank of the first right one.

    Of a number X it is ∫ E (1 − w)^X dw over w in [0, 1], since ∫ s^X ds = 1 / (X + 1).
    """
    w, weights = panels(int(others.sum(axis=1).max(initial=0)))
    ways = others.shape[1]

    def of(rows: Int[np.ndarray, "m 2*3**M"], u: np.ndarray) -> Float[np.ndarray, "m U 1"]:
        ahead = _chances(shares, u)
        missed = np.log(np.maximum(1 - ahead, np.finfo(float).tiny))  # [3**M U]
        kept = np.log1p(-ahead[..., None] * w)  # [3**M U W]
        exponents = rows[:, :ways] @ kept.reshape(ways, -1)
        exponents = exponents.reshape(len(rows), len(u), len(w))
        exponents += (rows[:, ways:] @ missed)[..., None]
        return np.exp(exponents) @ weights[:, None]

    both = np.concatenate([others, right], axis=1)
    return _means(both, _ties(others + right, len(shares)), len(w), of)[:, 0]


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

    One panel where it is exact, of no more nodes than that takes; beyond, panels that halve towards
    0, where these functions are narrow, down to 1 / degree: errors are below 1e-12 of the integral.
    """
    x, weights = np.polynomial.legendre.leggauss(min(NODES, degree // 2 + 1))
    halvings = 0 if degree < 2 * NODES else math.ceil(math.log2(degree))
    edges = np.concatenate([[0.0], 0.5 ** np.arange(halvings, -1, -1)])
    low, width = edges[:-1, None], np.diff(edges)[:, None]
    return (low + width * (1 + x) / 2).ravel(), (width * weights / 2).ravel()


def _chances(shares: Shares, u: Float[np.ndarray, "U"]) -> Float[np.ndarray, "3**M U"]:
    """That an item that stands so in each modality comes before the document."""
    ahead = np.stack([np.zeros_like(u), u, np.ones_like(u)])
    found = np.zeros((1, len(u)))
    for share in shares:
        found = (found[:, None] + share * ahead).reshape(-1, len(u))
    return found


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
    ties: Int[np.ndarray, "n"],
    width: int,
    of: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Means over u of a function of each row; equal rows are worked out once, and rows with about
    as many ties together. `width`: elements that it needs for a row and a u."""
    distinct, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    ties = ties[first]
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


def _ties(counts: Counts, modalities: int) -> Int[np.ndarray, "n"]:
    """How many items may tie with the document."""
    tied = [standing(*x) for x in itertools.product(range(3), repeat=modalities) if TIED in x]
    found: np.ndarray = counts[:, tied].sum(axis=1)
    return found


def _alike(ties: Int[np.ndarray, "n"]) -> Iterator[tuple[Int[np.ndarray, "m"], int]]:
    """Rows whose ties need the same panels, and the most of them; most rows have none."""
    needed = np.where(ties < 2 * NODES, np.minimum(ties, 1), np.ceil(np.log2(np.maximum(ties, 1))))
    for each in np.unique(needed):
        rows = np.flatnonzero(needed == each)
        yield rows, int(ties[rows].max())
