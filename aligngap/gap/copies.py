"""Rows that are equal are one item: which those are, in one pass that keeps 8 bytes a row.

Five captions an image mean that its row stands in the file five times. A measure that took each for
an item would find copies among neighbours and negatives, and the same thing on both sides of a
split.
"""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, UInt64
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from aligngap.gap.unit_rows import expect_pairs

DIGEST = 8  # bytes: that any two unlike rows of a million share one has a chance of 3e-8


class First(NamedTuple):
    """Which of N rows, and which pairs, are the first of those that equal them."""

    image: Bool[np.ndarray, "N"]
    text: Bool[np.ndarray, "N"]
    pair: Bool[np.ndarray, "N"]


class Part(NamedTuple):
    """A number of each of U items, and the group of pairs that the item is of."""

    values: Float[np.ndarray, "U"]
    group: Int[np.ndarray, "U"]


@dataclasses.dataclass(frozen=True)
class Items:
    """Of N pairs the item of either row, and the group of pairs that answer each other: those that
    share an image or a text, also by way of others. Numbers are in the order of the rows."""

    image: Int[np.ndarray, "N"]
    text: Int[np.ndarray, "N"]
    group: Int[np.ndarray, "N"]

    @classmethod
    def each(cls, pairs: int) -> "Items":
        """Every row an item, whatever it equals."""
        return cls(*[np.arange(pairs)] * 3)

    def take(self, rows: Int[np.ndarray, "S"]) -> "Items":
        """Those of some of the pairs: what answers each other through the others still does."""
        return Items(self.image[rows], self.text[rows], self.group[rows])

    def within(self, label: Int[np.ndarray, "N"]) -> "Items":
        """Items of each label: rows of two labels are no copies of each other."""
        size = int(label.max()) + 1
        return Items(*(x * size + label for x in (self.image, self.text, self.group)))

    def sample(self, most: int, seed: int) -> Int[np.ndarray, "S"]:
        """Pairs in order: all of them, or `most` of whole groups drawn without replacement, of
        which the last may be cut. No group gives more than √most before all have given as many:
        a class name as caption links more pairs than that."""
        if len(self.group) <= most:
            return np.arange(len(self.group))
        random = np.random.default_rng(seed)
        groups = int(self.group.max()) + 1
        place = np.full(groups, groups)
        drawn = random.choice(groups, min(most, groups), replace=False)
        place[drawn] = np.arange(len(drawn))
        turn = _within(self.group, random) // math.isqrt(most)
        return np.sort(np.lexsort((place[self.group], turn))[:most])

    @functools.cached_property
    def first(self) -> First:
        """What stands for its copies: sums over these count every item once."""
        both = numbered(self.image, self.text)
        return First(*(first(x) for x in (self.image, self.text, both)))

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return len(np.unique(self.group))

    @property
    def copies(self) -> dict[str, int]:
        """modality → rows that repeat another one."""
        return {
            "image": int((~self.first.image).sum()),
            "text": int((~self.first.text).sum()),
        }


def find(
    chunks: Iterable[tuple[Float[np.ndarray, "n D"], Float[np.ndarray, "n D"]]],
) -> Items:
    """Of float32 rows of pairs, chunk by chunk; rows are equal when all their numbers are."""
    kept = [(digests(image), digests(text)) for image, text in chunks]
    image, text = (numbered(np.concatenate(x)) for x in zip(*kept, strict=True))
    return Items(image, text, linked(image, text))


def of(image: ArrayLike, text: ArrayLike) -> Items:
    """Of rows in memory, as float32; AligngapError for what is no pairs."""
    expect_pairs(image, text)
    return find([(np.asarray(image, np.float32), np.asarray(text, np.float32))])


def among(rows: ArrayLike, *labels: Int[np.ndarray, "N"]) -> Int[np.ndarray, "N"]:
    """The item of each row in memory, as float32; rows of unlike labels are two, for which of them
    is right nobody has said."""
    return numbered(digests(np.asarray(rows, np.float32)), *labels)


def groups(*modalities: ArrayLike) -> Int[np.ndarray, "N"]:
    """`Items.group` of rows i of two or more modalities, which are one thing."""
    return linked(*(among(rows) for rows in modalities))


def said(copies: Mapping[str, int]) -> str:
    """ "1,200 image rows and 3 text rows are copies of others"; nothing where there are none."""
    some = [f"{n:,} {name} row{'s' * (n > 1)}" for name, n in copies.items() if n]
    if not some:
        return ""
    one = sum(copies.values()) == 1
    return f"{' and '.join(some)} {'is a copy of another' if one else 'are copies of others'}"


def digests(rows: Float[np.ndarray, "n D"]) -> UInt64[np.ndarray, "n"]:
    """Of each row's bytes; 0 and −0 are one number."""
    whole = np.ascontiguousarray(rows + np.float32(0))
    found = (hashlib.blake2b(row, digest_size=DIGEST).digest() for row in whole)
    return np.frombuffer(b"".join(found), np.uint64)


def numbered(*values: np.ndarray) -> Int[np.ndarray, "N"]:
    """Places where each of these arrays has equal values → one number, in the order in which they
    first stand there."""
    found, *others = (_numbered(each) for each in values)
    for other in others:
        found = _numbered(found * (int(other.max()) + 1) + other)
    return found


def first(number: Int[np.ndarray, "N"]) -> Bool[np.ndarray, "N"]:
    """Whether each is the first of its number: what stands for its copies."""
    found = np.zeros(len(number), bool)
    found[np.unique(number, return_index=True)[1]] = True
    return found


def linked(*numbers: Int[np.ndarray, "N"]) -> Int[np.ndarray, "N"]:
    """Of items by their numbers in two or more modalities `Items.group`: the connected components
    of the graph whose edges are the rows."""
    ends = np.cumsum([int(number.max()) + 1 for number in numbers])
    start, *others = (x + start for x, start in zip(numbers, [0, *ends], strict=False))
    edges = np.tile(start, len(others)), np.concatenate(others)
    graph = sparse.coo_array((np.ones(len(edges[0])), edges), (ends[-1], ends[-1]))
    return numbered(connected_components(graph, directed=False)[1][start])


def _within(number: Int[np.ndarray, "N"], random: np.random.Generator) -> Int[np.ndarray, "N"]:
    """The place of each among those of its number, in a random order."""
    order = random.permutation(len(number))
    order = order[np.argsort(number[order], kind="stable")]
    sizes = np.bincount(number)
    place = np.empty(len(number), int)
    place[order] = np.arange(len(number)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return place


def _numbered(values: np.ndarray) -> Int[np.ndarray, "N"]:
    _, places, number = np.unique(values, return_index=True, return_inverse=True)
    order = np.empty(len(places), int)
    order[np.argsort(places)] = np.arange(len(places))
    return order[number.reshape(-1)]
