"""Which renderings come first in a mixed pool: the best of each modality, and how many are images.

A rendering is an item as image, as text or as what else it may stand as. It is among the first ten
where it stands so, and fewer than ten other items come before it: a chance that sums of binomials
give, as in `mixed_ranks`.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import bdtr  # scipy.stats has it, too: a second that training would wait.

from aligngap.tasks.mixed_ranks import Shares, binomial, how_many

FIRST = 10  # Places that are looked at.
NEGLIGIBLE = 1e-9  # Chance that a rendering beyond the best ones kept is among the first.
RENDERINGS_AT_ONCE = 2**19


class Best:
    """The best renderings of each modality for each query, as the parts of a pool come."""

    def __init__(self, queries: int, modalities: int, depth: int) -> None:
        self._items = np.zeros((queries, modalities, depth), np.int32)
        self._scores = np.full((queries, modalities, depth), -np.inf)
        self._waiting: list[list[tuple[np.ndarray, ...]]] = [[] for _ in range(modalities)]
        self._sizes = [0] * modalities
        # A row at a time costs more than many that are added at once.
        self._most = max(RENDERINGS_AT_ONCE, queries * depth // 2)
        self.least = np.full((queries, modalities), -np.inf)  # What is no better is not kept.

    def add(self, some: slice, start: int, scores: Float[np.ndarray, "M q n"]) -> None:
        """All scores of a part's items, the first of which is `start`."""
        depth = self._items.shape[-1]
        for modality, found in enumerate(scores):
            least = self.least[some, modality, None]
            better = found > least
            if np.isneginf(least).any() and found.shape[1] > depth:  # Else all of them would wait.
                better &= found >= np.partition(found, -depth, axis=1)[:, -depth, None]
            rows, columns = np.nonzero(better)
            self.take(modality, some.start + rows, start + columns, found[rows, columns])

    def take(
        self,
        modality: int,
        rows: Int[np.ndarray, "n"],
        items: Int[np.ndarray, "n"],
        scores: Float[np.ndarray, "n"],
    ) -> None:
        """Single scores of some queries; of each query those of a later item come later."""
        kept = scores > self.least[rows, modality]
        waiting = self._waiting[modality]
        waiting.append((rows[kept], items[kept].astype(np.int32), scores[kept]))
        self._sizes[modality] += len(waiting[-1][0])
        if self._sizes[modality] > self._most:
            self._merge(modality)

    def found(self) -> tuple[Int[np.ndarray, "Q M L"], Float[np.ndarray, "Q M L"]]:
        """Items and scores, the best first. Of scores that are equal the first stay."""
        for modality in range(len(self._waiting)):
            self._merge(modality)
        order = np.argsort(-self._scores, axis=-1, kind="stable")
        return (
            np.take_along_axis(self._items, order, axis=-1),
            np.take_along_axis(self._scores, order, axis=-1),
        )

    def _merge(self, modality: int) -> None:
        """Takes what waits among the best, as many queries at once as the memory allows."""
        if not (waiting := self._waiting[modality]):
            return
        rows, items, scores = (np.concatenate(each) for each in zip(*waiting, strict=True))
        waiting.clear()
        self._sizes[modality] = 0
        order = np.argsort(rows, kind="stable")
        queries, first, sizes = np.unique(rows[order], return_index=True, return_counts=True)
        by_size, depth, done = np.argsort(-sizes, kind="stable"), self._items.shape[-1], 0
        while done < len(queries):
            step = max(1, RENDERINGS_AT_ONCE // (depth + int(sizes[by_size[done]])))
            some = by_size[done : done + step]
            numbers = np.arange(sizes[some[0]])
            new = order[np.minimum(first[some, None] + numbers, len(order) - 1)]
            there = numbers < sizes[some, None]
            held = queries[some], modality
            wide = np.concatenate([self._scores[held], np.where(there, scores[new], -np.inf)], 1)
            named = np.concatenate([self._items[held], items[new]], axis=1)
            kept = _highest(wide, depth)
            self._scores[held] = wide[kept].reshape(-1, depth)
            self._items[held] = named[kept].reshape(-1, depth)
            done += step
        self.least[queries, modality] = self._scores[queries, modality].min(axis=1)


def _highest(scores: Float[np.ndarray, "q n"], most: int) -> Bool[np.ndarray, "q n"]:
    """So many of each row; of scores that are equal the first. (Sorting takes several times as
    long.)"""
    least = np.partition(scores, -most, axis=1)[:, -most, None]
    above, equal = scores > least, scores == least
    room = most - np.count_nonzero(above, axis=1)
    kept: np.ndarray = above | equal & (np.cumsum(equal, axis=1) <= room[:, None])
    return kept


def depth(mixtures: Sequence[Shares]) -> int:
    """How many renderings of a modality to keep: one that has so many before it is not among the
    first in any of these mixtures."""
    least = min(share for shares in mixtures for share in shares if share > 0)
    kept = np.arange(FIRST, 10_000)
    return int(kept[np.argmax(bdtr(FIRST - 1, kept, least) < NEGLIGIBLE)])


def images_first(
    items: Int[np.ndarray, "Q 2 L"],
    scores: Float[np.ndarray, "Q 2 L"],
    shown: Bool[np.ndarray, "N 2"],
    shares: Sequence[float],
) -> Float[np.ndarray, "Q P"]:
    """Mean share of images among the first ten of each query, from its best renderings. Of equal
    scores the item that stands first in the pool comes first. `shown`: what is an image."""
    step = max(1, RENDERINGS_AT_ONCE // (2 * items.shape[-1]))
    parts = [
        _sums(items[at : at + step], scores[at : at + step], shown, shares)
        for at in range(0, len(items), step)
    ]
    return np.concatenate(parts, axis=1).T / min(FIRST, len(shown))


def shares_first(
    items: Int[np.ndarray, "Q M L"], scores: Float[np.ndarray, "Q M L"], shares: Shares, pool: int
) -> Float[np.ndarray, "Q M"]:
    """Mean share of each modality among the first ten of each query, likewise, in one mixture of
    any number of modalities (each with a share above 0) and a pool of so many items."""
    most = min(depth([shares]), items.shape[-1])
    width = len(shares) * most << len(shares)
    step = max(1, RENDERINGS_AT_ONCE // width)
    parts = [
        _sums_of_each(items[at : at + step, :, :most], scores[at : at + step, :, :most], shares)
        for at in range(0, len(items), step)
    ]
    return np.concatenate(parts) / min(FIRST, pool)


def _sums_of_each(
    items: Int[np.ndarray, "q M L"], scores: Float[np.ndarray, "q M L"], shares: Shares
) -> Float[np.ndarray, "q M"]:
    """Sums over items of the chance that each stands in a modality and among the first."""
    most = items.shape[-1]
    flat = items.reshape(len(items), -1)
    order = np.lexsort((flat, -scores.reshape(flat.shape)), axis=1)
    flat, modality = np.take_along_axis(flat, order, axis=1), order // most
    # Of each rendering's own item the modalities that stand before it, a bit each.
    by_item = np.argsort(flat, axis=1, kind="stable")
    bits = np.take_along_axis(1 << modality, by_item, axis=1)
    total = np.cumsum(bits, axis=1) - bits
    starts = np.diff(np.take_along_axis(flat, by_item, axis=1), axis=1, prepend=-1) != 0
    own = np.zeros_like(total)
    began = np.maximum.accumulate(np.where(starts, total, 0), axis=1)
    np.put_along_axis(own, by_item, total - began, axis=1)
    # How many other items have which modalities before it.
    sets = np.arange(1, 1 << len(shares))
    mine = (own[..., None] == sets).astype(np.int64)
    joined = (own | 1 << modality)[..., None] == sets
    changed = joined - mine
    before = np.cumsum(changed, axis=1) - changed - mine
    has = sets[:, None] >> np.arange(len(shares)) & 1
    chances = has @ np.array(shares)
    numbers = how_many(before.reshape(-1, len(sets)), np.minimum(chances, 1)[:, None], FIRST)
    first = numbers.sum(axis=(1, 2)).reshape(flat.shape)
    return np.stack(
        [(first * share * (modality == each)).sum(axis=1) for each, share in enumerate(shares)],
        axis=1,
    )


def _sums(
    items: Int[np.ndarray, "q 2 L"],
    scores: Float[np.ndarray, "q 2 L"],
    shown: Bool[np.ndarray, "N 2"],
    shares: Sequence[float],
) -> Float[np.ndarray, "P q"]:
    """Sums over an item's image and text of the chance that it stands so and among the first."""
    most = items.shape[-1]
    flat = items.reshape(len(items), -1)
    order = np.lexsort((flat, -scores.reshape(flat.shape)), axis=1)
    flat = np.take_along_axis(flat, order, axis=1)
    text = order >= most
    # Of an item whose image and text are both here, the later one.
    by_item = np.argsort(flat, axis=1, kind="stable")
    ordered = np.take_along_axis(flat, by_item, axis=1)
    again = np.zeros(flat.shape, bool)
    second = np.diff(ordered, axis=1, prepend=-1) == 0
    np.put_along_axis(again, by_item, second, axis=1)
    both = np.cumsum(again, axis=1) - again
    # Before it, of other items: both, only the image, only the text.
    images = np.cumsum(~text, axis=1) - ~text - both - (again & text)
    texts = np.cumsum(text, axis=1) - text - both - (again & ~text)
    counted = shown[flat, text.astype(int)]
    found = []
    for p in shares:
        first = _among_first(most, p)[np.minimum(both, FIRST), images, texts]
        found.append((np.where(text, 1 - p, p) * counted * first).sum(axis=1))
    return np.stack(found)


def _among_first(most: int, share: float) -> Float[np.ndarray, "11 n n"]:
    """Chance of fewer than ten items before a rendering: [those certain, images, texts]."""
    counts = np.arange(most + 1)
    image, text = (binomial(counts, np.array([p]), FIRST)[:, 0] for p in (share, 1 - share))
    at_most = np.cumsum(text, axis=1)
    left = [
        sum(np.multiply.outer(image[:, i], at_most[:, room - i]) for i in range(room + 1))
        for room in range(FIRST - 1, -1, -1)
    ]
    return np.stack([*left, np.zeros((most + 1, most + 1))])
