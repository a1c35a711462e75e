"""Which split a record is in, and which records repeat a caption: over a whole corpus."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt64

from aligngap.data.sources.examine import read_findings

SHARE, LARGEST = 0.05, 10_000  # Images held out: evaluation compares each with all captions.
Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Splitting:
    """Which records are held out, where the files do not say."""

    test_share: float | None = None  # Of the distinct images; None: SHARE, but at most LARGEST.
    validation_share: float | None = None
    by: str = "image"  # image | caption: those that share one stand in the same split.
    drop_duplicate_captions: bool = False  # A caption of an earlier record: left out.

    def shares(self, records: int) -> list[float]:
        """Of test and validation, in a corpus of so many records."""
        usual = min(SHARE, LARGEST / max(records, 1))
        asked = self.test_share, self.validation_share
        return [usual if share is None else share for share in asked]


class Across:
    """The findings of all parts, as far as records must be compared with each other.

    Held in memory only where that is asked for: 8 bytes a record and a caption.
    """

    def __init__(self, parts: Sequence[Path], splitting: Splitting) -> None:
        self._parts, self._splitting = parts, splitting

    def kept(self, part: int, columns: Columns) -> Bool[np.ndarray, "N"]:
        """False where a caption stands in an earlier record, if those are to be left out."""
        if not self._splitting.drop_duplicate_captions:
            return np.ones(len(columns["offset"]), bool)
        return ~self._repeats[self._of(part)]

    def roles(self, part: int, columns: Columns) -> np.ndarray:
        """[N] of train, validation, test: as the files say, else by the digest."""
        digests = columns["image"]
        if self._splitting.by == "caption":
            digests = self._components[self._of(part)]
        shares = np.cumsum(self._splitting.shares(int(self._starts[-1])))
        place = np.searchsorted(shares, digests / 2.0**64, side="right")
        by_share = np.array(["test", "validation", "train"])[place]
        return np.where(columns["role"] == "", by_share, columns["role"])

    @cached_property
    def _all(self) -> dict[str, np.ndarray]:
        names = ("image", "captions", "caption")
        found = [read_findings(part)[0] for part in self._parts]
        return {name: np.concatenate([columns[name] for columns in found]) for name in names}

    @cached_property
    def _starts(self) -> np.ndarray:
        """Of each part's records in all of them."""
        counts = [len(read_findings(part)[0]["offset"]) for part in self._parts]
        return np.concatenate([[0], np.cumsum(counts)])

    def _of(self, part: int) -> slice:
        return slice(self._starts[part], self._starts[part + 1])

    @cached_property
    def _owner(self) -> np.ndarray:
        """The record of each caption."""
        captions = self._all["captions"]
        return np.repeat(np.arange(len(captions)), captions)

    @cached_property
    def _repeats(self) -> Bool[np.ndarray, "N"]:
        _, first, which = np.unique(self._all["caption"], return_index=True, return_inverse=True)
        later = self._owner[first][which] < self._owner
        repeats = np.zeros(len(self._all["image"]), bool)
        repeats[self._owner[later]] = True
        return repeats

    @cached_property
    def _components(self) -> UInt64[np.ndarray, "N"]:
        """A number that records have in common which share an image or a caption, or share one
        with a record that does: the least digest of their images."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        digests, image = np.unique(self._all["image"], return_inverse=True)
        texts, caption = np.unique(self._all["caption"], return_inverse=True)
        edges = image[self._owner], len(digests) + caption
        nodes = len(digests) + len(texts)
        graph = coo_array((np.ones(len(caption), bool), edges), shape=(nodes, nodes))
        _, component = connected_components(graph, directed=False)
        least = np.full(component.max() + 1, np.iinfo(np.uint64).max, np.uint64)
        np.minimum.at(least, component[: len(digests)], digests)
        return least[component[image]]
