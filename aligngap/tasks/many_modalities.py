"""Mixed search in more than two modalities: a pool in which each item stands once, in one of M.

Each item stands in modality m with probability w_m, independently: measured are each modality
alone, all evenly, and each two of them as `search` measures images and texts, against the share of
the one. Values are expectations as there; in fused documents, n(Σ_m α_m x_m), α is what w is.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from aligngap.tasks import mixed_ranks, search
from aligngap.tasks.first_places import FIRST, depth, images_first, shares_first
from aligngap.tasks.mixed_pool import Chunks, Right, Seen, scan
from aligngap.tasks.search import GRID, Found, Measured, Mixture

MOST = 5  # Modalities: counts grow as M 3^M.


def among_first(name: str) -> str:
    """What the share of a modality among the first ten is called."""
    return f"{name}_among_first_{FIRST}"


def even(modalities: int) -> Mixture:
    """All shares equal."""
    return (1 / modalities,) * modalities


def pair(modalities: int, one: int, other: int, share: float) -> Mixture:
    """Two of them, the one with this share."""
    found = [0.0] * modalities
    found[one], found[other] = share, round(1 - share, 1)
    return tuple(found)


def mixtures(modalities: int) -> list[Mixture]:
    """Each alone, all evenly, each two at .1, ..., .9."""
    alone = [tuple(map(float, row)) for row in np.eye(modalities)]
    two = itertools.combinations(range(modalities), 2)
    mixed = [pair(modalities, *of, share) for of in two for share in GRID[1:-1]]
    return [*alone, even(modalities), *mixed]


def evaluate(
    chunks: Chunks,
    queries: Float[np.ndarray, "Q D"],
    right: Right,
    names: Sequence[str],
    seed: int,
    clusters: Int[np.ndarray, "Q"] | None = None,
) -> Found:
    """`measure` with intervals; without `clusters` each query is one."""
    return measure(chunks, queries, right, names).found(seed, clusters)


def measure(
    chunks: Chunks, queries: Float[np.ndarray, "Q D"], right: Right, names: Sequence[str]
) -> Measured:
    """Every measure in every mixture of the modalities `names`, three to MOST. Rows are
    L2-normalised; every query has a right item."""
    search.expect_right(queries, right)
    grid = mixtures(len(names))
    seen = scan(chunks, queries, right, np.array(grid), depth(grid), names)
    measured = _measured(seen, right)
    each = {shares: measured[shares] for shares in grid}
    chance = {shares: of.chance for shares, of in each.items()}
    random = search.by_chance(seen, right, chance, np.array(grid))
    found = {
        **search.together([of.scores for of in each.values()]),
        **search.fused(seen, right),
    }
    for number, name in enumerate(names):
        found[among_first(name)] = np.stack([of.first[:, number] for of in each.values()], axis=1)
        random[among_first(name)] = np.array([shares[number] for shares in grid])
    return Measured(found, random, seen.items, grid)


class _Mixed(NamedTuple):
    """Of a mixture the measures of each query, the shares of modalities among its first ten, and
    what chance scores."""

    scores: dict[str, Float[np.ndarray, "Q"]]
    first: Float[np.ndarray, "Q M"]
    chance: dict[str, float]


def _measured(seen: Seen, right: Right) -> dict[Mixture, _Mixed]:
    count = seen.others.shape[1]
    every = even(count)
    found = {every: _evenly(seen, right, every)}
    kinds = np.tile([True, False], (seen.items, 1))
    for one, other in itertools.combinations(range(count), 2):
        two = seen.only(one, other)
        ones = images_first(two.best_items, two.best_scores, kinds, GRID)
        chances = search.chances_in(two, right, search.MIXTURES)
        for place, (share, rest) in enumerate(search.MIXTURES):
            at = pair(count, one, other, share)
            if at in found:  # One alone, which another pair has as well.
                continue
            first = np.zeros((len(ones), count))
            first[:, one], first[:, other] = ones[:, place], 1 - ones[:, place]
            scores = search.mixed(two, right, (share, rest))
            found[at] = _Mixed(scores, first, chances[share, rest])
    return found


def _evenly(seen: Seen, right: Right, shares: Mixture) -> _Mixed:
    def alike(counts: np.ndarray) -> np.ndarray:
        return mixed_ranks.in_any_order(counts, len(shares))

    seen = dataclasses.replace(
        seen,
        others=alike(seen.others),
        right=alike(seen.right),
        all_tied=None if seen.all_tied is None else alike(seen.all_tied),
    )
    return _Mixed(
        search.mixed(seen, right, shares),
        shares_first(seen.best_items, seen.best_scores, shares, seen.items),
        search.chances_in(seen, right, [shares])[shares],
    )
