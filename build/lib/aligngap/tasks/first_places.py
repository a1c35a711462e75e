"""Which renderings come first in a mixed pool: the best of each modality, and how many are images.

A rendering is an item as image or as text. It is among the first ten where it stands so, and fewer
than ten other items come before it: a chance that sums of binomials give, as in `mixed_ranks`.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import binom

from aligngap.tasks.mixed_ranks import binomial

FIRST = 10  # Places that are looked at.
NEGLIGIBLE = 1e-9  # Chance that a rendering beyond the best ones kept is among the first.
RENDERINGS_AT_ONCE = 2**19


class Best:
    """The best renderings of each modality for each query, as the chunks come."""

    def __init__(self, queries: int, depth: int) -> None:
        self.items = np.zeros((queries, 2, depth), np.int32)
        self.scores = np.full((queries, 2, depth), -np.inf)

    def add(self, some: slice, start: int, scores: Float[np.ndarray, "2 q n"]) -> None:
        """Scores of a chunk's items, the first of which is `start`."""
        depth = self.items.shape[-1]
        for modality, found in enumerate(scores):
            held = self.scores[some, modality]
            rows, columns = np.nonzero(found > held.min(axis=1, keepdims=True))
            if not len(rows):
                continue
            first = np.searchsorted(rows, np.arange(len(found)))
            places = depth + np.arange(len(rows)) - first[rows]
            wide = np.full((len(found), int(places.max()) + 1), -np.inf)
            wide[:, :depth], wide[rows, places] = held, found[rows, columns]
            items = np.zeros(wide.shape, np.int32)
            items[:, :depth], items[rows, places] = self.items[some, modality], start + columns
            # Of scores that are equal the first stay.
            kept = np.argsort(-wide, axis=1, kind="stable")[:, :depth]
            self.scores[some, modality] = np.take_along_axis(wide, kept, axis=1)
            self.items[some, modality] = np.take_along_axis(items, kept, axis=1)


def depth(shares: Sequence[float]) -> int:
    """How many renderings of a modality to keep: one that has so many before it is not among the
    first, where at each of these shares an item is an image."""
    least = min(min(p, 1 - p) for p in shares if 0 < p < 1)
    kept = np.arange(FIRST, 10_000)
    return int(kept[np.argmax(binom.cdf(FIRST - 1, kept, least) < NEGLIGIBLE)])


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
