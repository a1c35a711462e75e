"""Mixed search: a pool in which each item stands once, as image with probability p, else as text.

NDCG, recall and reciprocal rank of the right items against p, the share of images among the first
ten, and the same of a pool of fused documents, n(α · text + (1 − α) · image). The task is that of
Li et al. 2025 (GR-CLIP, MixBench), where α = ½ and a third of the pool each is text, image, both.

Nothing is drawn: a value is the expectation over all mixtures of the pool and all orders of ties
(`mixed_ranks`), so an encoder that maps everything to one point scores exactly chance.
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from aligngap.errors import AligngapError
from aligngap.intervals import Interval
from aligngap.tasks import mixed_ranks
from aligngap.tasks.first_places import FIRST, depth, images_first
from aligngap.tasks.intervals import Scores, estimates
from aligngap.tasks.mixed_pool import Chunks, Right, Seen, scan
from aligngap.tasks.mixed_ranks import BOTH_TIED, STANDINGS
from aligngap.tasks.ranking import KS

GRID = tuple(round(0.1 * step, 1) for step in range(11))  # Of shares p and of weights α.
NDCG = f"ndcg@{FIRST}"
IMAGES = f"images_among_first_{FIRST}"
MIXED = (NDCG, *(f"recall@{k}" for k in KS), "mrr", IMAGES)  # Of a mixture of both.

# name → what each query scores at each p, or at each α of what is "fused/...".
ByQuery = Mapping[str, Float[np.ndarray, "Q P"]]


@dataclasses.dataclass(frozen=True)
class Found:
    """name → p (of "fused/...": α) → its value with interval and chance."""

    values: Mapping[str, Mapping[float, Interval]]
    queries: int
    items: int


def flat_name(name: str, at: float) -> str:
    """As one tree has them: "ndcg@10/p0.5", "fused/ndcg@10/a0.5"."""
    return f"{name}/{'a' if name.startswith('fused/') else 'p'}{at:g}"


class Measured(NamedTuple):
    """Before anything is said about other queries."""

    scores: ByQuery
    chance: Mapping[str, Float[np.ndarray, "P"]]
    items: int

    def at(self, name: str, share: float) -> Scores:
        """What each query scored at a p (or α) of GRID; a query is a cluster."""
        place = GRID.index(share)
        column = self.scores[name][:, place]
        return Scores(column, np.arange(len(column)), float(self.chance[name][place]))

    def found(
        self,
        seed: int,
        clusters: Int[np.ndarray, "Q"] | None = None,
        without: Collection[float] = (),
    ) -> Found:
        """With intervals, which resample the queries, those of a cluster together, and keep the
        pool as it is; `without` those of MIXED at these p."""
        kept = {
            name: [p for p in GRID if name not in MIXED or p not in without] for name in self.scores
        }
        places = {name: [GRID.index(at) for at in grid] for name, grid in kept.items()}
        columns = np.concatenate([x[:, places[name]] for name, x in self.scores.items()], axis=1)
        chance = np.concatenate([self.chance[name][places[name]] for name in self.scores])
        clusters = np.arange(len(columns)) if clusters is None else clusters
        flat = iter(estimates(columns, clusters, chance, seed))
        values = {name: {at: next(flat) for at in grid} for name, grid in kept.items()}
        return Found(values, len(columns), self.items)


def evaluate(
    chunks: Chunks,
    queries: Float[np.ndarray, "Q D"],
    right: Right,
    seed: int,
    shown: Bool[np.ndarray, "N 2"] | None = None,
    clusters: Int[np.ndarray, "Q"] | None = None,
) -> Found:
    """`measure` with intervals; without `clusters` each query is one."""
    return measure(chunks, queries, right, shown).found(seed, clusters)


def measure(
    chunks: Chunks,
    queries: Float[np.ndarray, "Q D"],
    right: Right,
    shown: Bool[np.ndarray, "N 2"] | None = None,
) -> Measured:
    """Every measure at every p and α of GRID. Rows are L2-normalised; every query has a right item.

    `shown`: whether what stands as an item's image, and as its text, is an image (default: True,
    False).
    """
    if not len(queries) or len(np.unique(right.query)) < len(queries):
        raise AligngapError("search cannot be measured: a query has no right item")
    seen = scan(chunks, queries, right, np.array(GRID), depth(GRID))
    kinds = np.tile([True, False], (seen.items, 1)) if shown is None else shown
    found = {
        **_mixed(seen, right),
        IMAGES: images_first(seen.best_items, seen.best_scores, kinds, GRID),
        **_fused(seen, right),
    }
    random = _random(seen, right)
    random[IMAGES] = np.array([p * kinds[:, 0].mean() + (1 - p) * kinds[:, 1].mean() for p in GRID])
    return Measured(found, random, seen.items)


def ndcg(
    chunks: Chunks,
    queries: Float[np.ndarray, "Q D"],
    right: Right,
    right_is: float | None = None,
) -> Float[np.ndarray, "Q P"]:
    """NDCG@10 alone, of each query at each p of GRID. Rows need not be of length 1: products count.

    With `right_is` the right items are images with that probability, whatever p of the others is:
    1 where the queries are the items' own texts, which would find themselves.
    """
    seen = scan(chunks, queries, right, np.empty(0), 1)
    columns = [_gains(seen, p, p if right_is is None else right_is) for p in GRID]
    of_queries = [_of_queries({NDCG: gains}, right)[NDCG] for gains in columns]
    return np.stack(of_queries, axis=1)


def _gains(seen: Seen, p: float, image: float) -> Float[np.ndarray, "R"]:
    """Discounted gain of each right item, an image with probability `image`."""
    gains = np.zeros(len(seen.others))
    for side, chance in enumerate((image, 1 - image)):
        if chance > 0:
            others = seen.others[:, side] + seen.right[:, side]
            gains += chance * (mixed_ranks.places(others, p, FIRST) @ _discounts())
    return gains


def chances(
    items: int, right: Right, all_tied: Int[np.ndarray, "R 9"] | None = None, p: float = 0.5
) -> dict[str, float]:
    """What a random order of the pool scores on average: whichever the mixture, but for copies that
    are left out, of which `all_tied` of `Seen` knows."""
    sizes = np.bincount(right.query)[right.query]
    others, rivals = np.zeros((2, len(sizes), STANDINGS), np.int64)
    others[:, BOTH_TIED], rivals[:, BOTH_TIED] = items - sizes, sizes - 1
    found = _scores(others if all_tied is None else all_tied, rivals, p)
    return {name: float(rows.mean()) for name, rows in _of_queries(found, right).items()}


def _random(seen: Seen, right: Right) -> dict[str, Float[np.ndarray, "P"]]:
    """Chance of each measure at each p and α of GRID."""
    even = chances(seen.items, right)
    fused = {f"fused/{name}": np.full(len(GRID), mean) for name, mean in even.items()}
    if seen.all_tied is None:
        return {name: np.full(len(GRID), mean) for name, mean in even.items()} | fused
    each = [chances(seen.items, right, seen.all_tied, p) for p in GRID]
    mixed = {name: np.array([found[name] for found in each]) for name in even}
    for name, values in mixed.items():  # α = 0 and 1 are the images and the texts themselves.
        fused[f"fused/{name}"][[0, -1]] = values[[-1, 0]]
    return mixed | fused


def _mixed(seen: Seen, right: Right) -> ByQuery:
    """The measures at each p: the right item itself is an image with probability p."""
    columns = []
    for p in GRID:
        as_image, as_text = (
            _scores(seen.others[:, modality], seen.right[:, modality], p) for modality in (0, 1)
        )
        both = {name: p * rows + (1 - p) * as_text[name] for name, rows in as_image.items()}
        columns.append(_of_queries(both, right))
    return {name: np.stack([each[name] for each in columns], axis=1) for name in columns[0]}


def _fused(seen: Seen, right: Right) -> ByQuery:
    """The measures at each α: every item stands as its fused document."""
    columns = [
        _of_queries(_scores(seen.fused_others[:, place], seen.fused_right[:, place], 0.5), right)
        for place in range(len(GRID))
    ]
    return {
        f"fused/{name}": np.stack([each[name] for each in columns], axis=1) for name in columns[0]
    }


def _scores(
    others: Int[np.ndarray, "R 9"], rivals: Int[np.ndarray, "R 9"], p: float
) -> dict[str, Float[np.ndarray, "R"]]:
    """What each right item adds to its query: discounted gain (of grade 1), hits, reciprocal."""
    places = mixed_ranks.places(others + rivals, p, FIRST)
    hits = np.cumsum(places, axis=1)
    return {
        NDCG: places @ _discounts(),
        **{f"recall@{k}": hits[:, k - 1] for k in KS},
        "mrr": mixed_ranks.reciprocal(others, rivals, p),
    }


def _of_queries(found: Mapping[str, np.ndarray], right: Right) -> dict[str, np.ndarray]:
    """Of queries: gains by grade against the best order's, recall as a share of the right items,
    and 1 / rank of the first right one."""
    sizes = np.bincount(right.query)
    # Grades of each query, the highest first, in their places.
    order = np.lexsort((-right.grade, right.query))
    place = np.arange(len(order)) - np.searchsorted(right.query, right.query)
    discounts = np.append(_discounts(), 0)[np.minimum(place, FIRST)]
    ideal = np.bincount(right.query, right.grade[order] * discounts)
    sums = {
        name: np.bincount(right.query, rows * right.grade if name.startswith("ndcg") else rows)
        for name, rows in found.items()
    }
    over = {"ndcg": ideal, "recall": sizes, "mrr": np.ones(len(sizes))}
    return {name: rows / over[name.partition("@")[0]] for name, rows in sums.items()}


def _discounts() -> Float[np.ndarray, "10"]:
    """1 / log2(1 + rank)."""
    return 1 / np.log2(np.arange(2, FIRST + 2))
