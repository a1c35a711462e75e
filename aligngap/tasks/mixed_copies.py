"""Documents of a mixed pool that equal a right one: they are right, too, so they take no place.

A row that equals the image or the text of a right item answers the query wherever it stands. It is
left out of the ranking, unless it is a right item itself: those stand as they are. What is left out
depends on the query, the item and its modality, never on how other items stand, so the items stay
independent of each other, as `mixed_ranks` has them.
"""

import numpy as np
from jaxtyping import Bool, Int

from aligngap.tasks.mixed_ranks import BEHIND, BOTH_TIED, STANDINGS, TIED, standing


class Copies:
    """Of R pairs of a query and a right item, by query, and of N items' rows by number."""

    def __init__(
        self,
        query: Int[np.ndarray, "R"],
        item: Int[np.ndarray, "R"],
        rows: Int[np.ndarray, "N 2"] | None,
    ) -> None:
        self._query, self._item, self._rows = query, item, rows
        self._shared = np.zeros(0, bool) if rows is None else _shared(rows)
        self._left_out = np.zeros((len(query), STANDINGS), np.int64)

    def at(
        self, some: slice, pairs: slice, start: int, count: int
    ) -> Bool[np.ndarray, "2 r n"] | None:
        """Which of `count` items from `start` on are left out as image, and as text, for each of
        these pairs, those of some queries; None where none of the items shares a row."""
        columns = np.flatnonzero(self._shared[start : start + count])
        if self._rows is None or not len(columns):
            return None
        own, item = self._query[pairs] - some.start, self._item[pairs]
        rows, right = self._rows[start + columns].T, self._rows[item]
        equal = np.any([rows[:, None] == right[:, [side]] for side in (0, 1)], axis=0)
        found = np.zeros((2, some.stop - some.start, count), bool)
        first = np.searchsorted(own, np.arange(found.shape[1]))
        found[:, :, columns] = np.logical_or.reduceat(equal, first, axis=1)
        here = (item >= start) & (item < start + count)
        found[:, own[here], item[here] - start] = False
        out: np.ndarray = found[:, own]
        self._left_out[pairs] += _standings(out)
        return out

    def all_tied(self, items: int) -> Int[np.ndarray, "R 9"] | None:
        """How the items that are not right stand where all documents tie, once all were seen; None
        where no item shares a row."""
        if not self._shared.any():
            return None
        found = self._left_out.copy()
        rights = np.bincount(self._query)[self._query]
        found[:, BOTH_TIED] += items - rights - found.sum(axis=1)
        return found


def _shared(rows: Int[np.ndarray, "N 2"]) -> Bool[np.ndarray, "N"]:
    """Which items have a row that another one has, too."""
    image, text = rows.T
    times = np.bincount(np.concatenate([image, text[text != image]]))
    found: np.ndarray = (times[rows] > 1).any(axis=1)
    return found


def _standings(out: Bool[np.ndarray, "2 r n"]) -> Int[np.ndarray, "r 9"]:
    """How many items are left out as both, as image, as text: behind, where others tie."""
    image, text = out
    found = np.zeros((out.shape[1], STANDINGS), np.int64)
    found[:, standing(BEHIND, BEHIND)] = (image & text).sum(axis=1)
    found[:, standing(BEHIND, TIED)] = (image & ~text).sum(axis=1)
    found[:, standing(TIED, BEHIND)] = (text & ~image).sum(axis=1)
    return found
