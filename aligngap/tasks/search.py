"""Mixed search: a pool in which each item stands once, as image with probability p, else as text.

NDCG, recall and reciprocal rank of the right items against p, the share of images among the first
ten, and the same of a pool of fused documents, n(α · text + (1 − α) · image). The task is that of
Li et al. 2025 (GR-CLIP, MixBench), where α = ½ and a third of the pool each is text, image, both.

Nothing is drawn: a value is the expectation over all mixtures of the pool and all orders of ties
(`mixed_ranks`), so an encoder that maps everything to one point scores exactly chance.
"""

import dataclasses
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from aligngap.errors import AligngapError
from aligngap.intervals import Interval
from aligngap.tasks import mixed_ranks
from aligngap.tasks.first_places import FIRST, depth, images_first
from aligngap.tasks.intervals import Scores, estimates
from aligngap.tasks.mixed_pool import Chunks, Right, Seen, scan
from aligngap.tasks.mixed_ranks import TIED, Shares
from aligngap.tasks.ranking import KS

GRID = tuple(round(0.1 * step, 1) for step in range(11))  # Of shares p and of weights α.
MIXTURES = tuple((p, 1 - p) for p in GRID)  # Of images and texts.
WEIGHTS = np.array([(1 - alpha, alpha) for alpha in GRID])  # Of both in a fused document.
NDCG = f"ndcg@{FIRST}"
IMAGES = f"images_among_first_{FIRST}"
ALONE = (1.0,)  # The shares where there is one kind of documents.
MIXED = (NDCG, *(f"recall@{k}" for k in KS), "mrr", IMAGES)  # Of a mixture of both.

# The share of each modality, or its weight in a fused document.
Mixture = tuple[float, ...]

# name → what each query scores in each mixture, or by each weighting of what is "fused/...".
ByQuery = Mapping[str, Float[np.ndarray, "Q P"]]


@dataclasses.dataclass(frozen=True)
class Found:
    """name → p (of "fused/...": α) → its value with interval and chance; of more than two
    modalities the shares (weights) of all instead of p (α)."""

    values: Mapping[str, Mapping[Any, Interval]]
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
    grid: Sequence[Hashable] = GRID  # What is measured at.

    def at(self, name: str, share: float) -> Scores:
        """What each query scored at a p (or α) of GRID; a query is a cluster."""
        place = self.grid.index(share)
        column = self.scores[name][:, place]
        return Scores(column, np.arange(len(column)), float(self.chance[name][place]))

    def found(
        self,
        seed: int,
        clusters: Int[np.ndarray, "Q"] | None = None,
        without: Collection[Hashable] = (),
    ) -> Found:
        """With intervals, which resample the queries, those of a cluster together, and keep the
        pool as it is; `without` those of MIXED at these p."""
        kept = {
            name: [at for at in self.grid if name not in MIXED or at not in without]
            for name in self.scores
        }
        places = {name: [self.grid.index(at) for at in grid] for name, grid in kept.items()}
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
    expect_right(queries, right)
    seen = scan(chunks, queries, right, WEIGHTS, depth(MIXTURES))
    kinds = np.tile([True, False], (seen.items, 1)) if shown is None else shown
    found = {
        **together([mixed(seen, right, shares) for shares in MIXTURES]),
        IMAGES: images_first(seen.best_items, seen.best_scores, kinds, GRID),
        **fused(seen, right),
    }
    random = by_chance(seen, right, chances_in(seen, right, MIXTURES), WEIGHTS)
    random[IMAGES] = np.array([p * kinds[:, 0].mean() + (1 - p) * kinds[:, 1].mean() for p in GRID])
    return Measured(found, random, seen.items)


def expect_right(queries: Float[np.ndarray, "Q D"], right: Right) -> None:
    """AligngapError for a query without a right item."""
    if not len(queries) or len(np.unique(right.query)) < len(queries):
        raise AligngapError("search cannot be measured: a query has no right item")


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
    seen = scan(chunks, queries, right, np.empty((0, 2)), 1)
    columns = [
        _gains(seen, shares, shares[0] if right_is is None else right_is) for shares in MIXTURES
    ]
    of_queries = [_of_queries({NDCG: gains}, right)[NDCG] for gains in columns]
    return np.stack(of_queries, axis=1)


def _gains(seen: Seen, shares: Shares, image: float) -> Float[np.ndarray, "R"]:
    """Discounted gain of each right item, an image with probability `image`."""
    gains = np.zeros(len(seen.others))
    for side, chance in enumerate((image, 1 - image)):
        if chance > 0:
            others = seen.others[:, side] + seen.right[:, side]
            gains += chance * (mixed_ranks.places(others, shares, FIRST) @ _discounts())
    return gains


def chances(items: int, right: Right) -> dict[str, float]:
    """What a random order of the pool scores on average, whichever the mixture."""
    tied = np.zeros((len(right.query), 3), np.int64)
    tied[:, TIED] = items - np.bincount(right.query)[right.query]
    return _chances(tied, right, ALONE)


def chances_in(
    seen: Seen, right: Right, mixtures: Iterable[Mixture]
) -> dict[Mixture, dict[str, float]]:
    """The same of each mixture; copies are left out of it, of which its share of each modality has
    more or fewer."""
    if seen.all_tied is None:
        return dict.fromkeys(mixtures, chances(seen.items, right))
    return {shares: _chances(seen.all_tied, right, shares) for shares in mixtures}


def _chances(others: Int[np.ndarray, "R 3**M"], right: Right, shares: Shares) -> dict[str, float]:
    rivals = np.zeros_like(others)
    all_tied = mixed_ranks.standing(*[TIED] * len(shares))
    rivals[:, all_tied] = np.bincount(right.query)[right.query] - 1
    found = _of_queries(_scores(others, rivals, shares), right)
    return {name: float(rows.mean()) for name, rows in found.items()}


def by_chance(
    seen: Seen,
    right: Right,
    mixed: Mapping[Mixture, Mapping[str, float]],
    weights: Float[np.ndarray, "P M"],
) -> dict[str, Float[np.ndarray, "P"]]:
    """Chance of each measure in each mixture, and by each row of weights. Fused documents are no
    copies, but for those of one modality alone, which are its rows."""
    even = chances(seen.items, right)
    fused = [mixed[tuple(row)] if np.count_nonzero(row) == 1 else even for row in weights]
    found = {name: np.array([each[name] for each in mixed.values()]) for name in even}
    return found | {f"fused/{name}": np.array([each[name] for each in fused]) for name in even}


def mixed(seen: Seen, right: Right, shares: Shares) -> dict[str, Float[np.ndarray, "Q"]]:
    """The measures in a mixture: the right item itself stands in a modality with its share."""
    found: dict[str, np.ndarray] = {}
    for each, share in enumerate(shares):
        scores = _scores(seen.others[:, each], seen.right[:, each], shares)
        found = {name: found.get(name, 0) + share * rows for name, rows in scores.items()}
    return _of_queries(found, right)


def fused(seen: Seen, right: Right) -> ByQuery:
    """The measures by each row of weights: every item stands as its fused document."""
    columns = [
        _of_queries(_scores(seen.fused_others[:, place], seen.fused_right[:, place], ALONE), right)
        for place in range(seen.fused_others.shape[1])
    ]
    return {f"fused/{name}": rows for name, rows in together(columns).items()}


def together(columns: Sequence[Mapping[str, Float[np.ndarray, "Q"]]]) -> ByQuery:
    """Mixture by mixture → measure by measure."""
    return {name: np.stack([each[name] for each in columns], axis=1) for name in columns[0]}


def _scores(
    others: Int[np.ndarray, "R 3**M"], rivals: Int[np.ndarray, "R 3**M"], shares: Shares
) -> dict[str, Float[np.ndarray, "R"]]:
    """What each right item adds to its query: discounted gain (of grade 1), hits, reciprocal."""
    places = mixed_ranks.places(others + rivals, shares, FIRST)
    hits = np.cumsum(places, axis=1)
    return {
        NDCG: places @ _discounts(),
        **{f"recall@{k}": hits[:, k - 1] for k in KS},
        "mrr": mixed_ranks.reciprocal(others, rivals, shares),
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
