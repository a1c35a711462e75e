"""Documents of a mixed pool that equal a right one: they are right, too, so they take no place.

A row that equals the image or the text of a right item answers the query wherever it stands. It is
left out of the ranking, unless it is a right item itself: those stand as they are. What is left out
depends on the query, the item and its modality, never on how other items stand, so the items stay
independent of each other, as `mixed_ranks` has them.
"""

import itertools

import numpy as np
from jaxtyping import Bool, Int

from aligngap.tasks.mixed_ranks import BEHIND, TIED, standing


class Copies:
    """Of R pairs of a query and a right item, by query, and of the rows of N items in M modalities
    by number; equal rows have one."""

    def __init__(
        self,
        query: Int[np.ndarray, "R"],
        item: Int[np.ndarray, "R"],
        rows: Int[np.ndarray, "N M"] | None,
    ) -> None:
        self._query, self._item = query, item
        self._rows = np.zeros((0, 2), int) if rows is None else rows
        self._shared = _shared(self._rows)
        self._left_out = np.zeros((len(query), 3 ** self._rows.shape[1]), np.int64)

    def at(
        self, some: slice, pairs: slice, start: int, count: int
    ) -> Bool[np.ndarray, "M r n"] | None:
        """Which of `count` items from `start` on are left out in each modality for each of these
        pairs, those of some queries; None where none of the items shares a row."""
        columns = np.flatnonzero(self._shared[start : start + count])
        if not len(columns):
            return None
        own, item = self._query[pairs] - some.start, self._item[pairs]
        rows, right = self._rows[start + columns].T, self._rows[item]
        equal = np.any([rows[:, None] == each[:, None] for each in right.T], axis=0)
        found = np.zeros((len(rows), some.stop - some.start, count), bool)
        first = np.searchsorted(own, np.arange(found.shape[1]))
        found[:, :, columns] = np.logical_or.reduceat(equal, first, axis=1)
        here = (item >= start) & (item < start + count)
        found[:, own[here], item[here] - start] = False
        out: np.ndarray = found[:, own]
        self._left_out[pairs] += _standings(out)
        return out

    def all_tied(self, items: int) -> Int[np.ndarray, "R 3**M"] | None:
        """How the items that are not right stand where all documents tie, once all were seen; None
        where no item shares a row."""
        if not self._shared.any():
            return None
        found = self._left_out.copy()
        rights = np.bincount(self._query)[self._query]
        found[:, standing(*[TIED] * self._rows.shape[1])] += items - rights - found.sum(axis=1)
        return found


def _shared(rows: Int[np.ndarray, "N M"]) -> Bool[np.ndarray, "N"]:
    """Which items have a row that another one has, too."""
    ordered = np.sort(rows, axis=1)
    own = np.diff(ordered, axis=1, prepend=-1) > 0  # Of one item a row counts once.
    times = np.bincount(ordered[own])
    found: np.ndarray = (times[rows] > 1).any(axis=1)
    return found


def _standings(out: Bool[np.ndarray, "M r n"]) -> Int[np.ndarray, "r 3**M"]:
    """How many items are left out in which modalities: behind there, where they tie elsewhere."""
    found = np.zeros((out.shape[1], 3 ** len(out)), np.int64)
    for which in itertools.product((False, True), repeat=len(out)):
        if any(which):
            same = np.all([x == there for x, there in zip(out, which, strict=True)], axis=0)
            stands = (BEHIND if there else TIED for there in which)
            found[:, standing(*stands)] = same.sum(axis=1)
    return found
