"""What is searched: embeddings in files, their rows put together to items."""

import argparse
import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from aligngap import progress
from aligngap.errors import AligngapError, UsageError
from aligngap.gap import GapTransform, copies, sources
from aligngap.gap.sources import StoredArray
from aligngap.gap.streaming import GROUPS, sample
from aligngap.gap.unit_rows import UnitRows
from aligngap.laboratory.search import qrels
from aligngap.tasks.mixed_pool import Chunk, Chunks, Right, chunks_of


@dataclasses.dataclass(frozen=True)
class Pool:
    """Items in chunks, queries, and what is right; `shown` as `tasks.search.evaluate` has it."""

    chunks: Chunks
    queries: Float[np.ndarray, "Q D"]
    right: Right
    shown: Bool[np.ndarray, "N 2"] | None
    given: int  # Queries that there were, of which those of `queries` are left.
    clusters: Int[np.ndarray, "Q"] | None = None  # Queries of one item; each its own without.
    copies: Mapping[str, int] = dataclasses.field(default_factory=dict)  # Rows that are no item.


def read(
    arguments: argparse.Namespace,
    transform: GapTransform | None,
    further: Mapping[str, str],
) -> Pool:
    """The pool of the files, `further` modalities by name beside images and texts, every row of it
    transformed where there is a transform."""
    own = {"image": arguments.image, "text": arguments.text}
    given = [*own.items(), *further.items(), ("query", arguments.query)]
    sides = [Side(sources.embeddings(file), name, transform) for name, file in given]
    for other in sides[1:]:
        if other.source.shape[1] != sides[0].source.shape[1]:
            raise AligngapError(
                f"{sides[0].given} has {sides[0].source.shape[1]} dimensions and {other.given} "
                f"{other.source.shape[1]}; expected embeddings of one model"
            )
    *items, query = sides
    if arguments.qrels:
        return _by_qrels(arguments, items, query)
    if len({side.source.shape[0] for side in sides}) > 1:
        rows = [f"{side.given} {side.source.shape[0]}" for side in items]
        raise UsageError(
            f"{query.given} has {query.source.shape[0]} rows, {', '.join(rows[:-1])} and "
            f"{rows[-1]}; expected one query an item, row i of all, or --qrels=FILE.tsv"
        )
    return _of_items(arguments, query, items)


class Side:
    """The rows of a file, as they are searched."""

    def __init__(self, source: StoredArray, modality: str, transform: GapTransform | None) -> None:
        if transform:
            transform.maps_of(modality)
            transform.expect(source)
        self.source, self.given = source, source.given
        self.modality, self._transform = modality, transform
        self._unit = UnitRows(source)

    def at(self, start: int, stop: int) -> Float[np.ndarray, "n D"]:
        """Those rows, or as many as are left, of length 1; transformed where that is asked."""
        rows = self._unit.at(start, stop)
        if self._transform is None:
            return rows
        return self._transform.changed(self.modality, rows, start, self.given)

    def given_rows(self) -> Iterator[Float[np.ndarray, "n D"]]:
        """All of them, GROUPS at a time, not transformed."""
        for start in range(0, self.source.shape[0], GROUPS):
            yield self._unit.at(start, start + GROUPS)

    def all(self) -> Float[np.ndarray, "N D"]:
        """All of them."""
        starts = range(0, self.source.shape[0], GROUPS)
        return np.concatenate([self.at(start, start + GROUPS) for start in starts])


def _of_items(arguments: argparse.Namespace, query: Side, items: Sequence[Side]) -> Pool:
    """Rows i that share an image, a text or another rendering are one item: the first of them
    stands in the pool, and the queries of all of them ask for it; else its copies would stand
    before it."""
    numbers = [
        copies.numbered(np.concatenate([copies.digests(rows) for rows in side.given_rows()]))
        for side in items
    ]
    group = copies.linked(*numbers)
    first = np.zeros(len(group), bool)
    first[np.unique(group, return_index=True)[1]] = True
    right = Right(np.arange(len(group)), group, np.ones(len(group)))
    pool = _of_queries(arguments, query, right, _streamed(items, first), None)
    copied = {
        side.modality: len(number) - len(np.unique(number))
        for side, number in zip(items, numbers, strict=True)
    }
    return dataclasses.replace(pool, clusters=pool.right.item, copies=copied)


def _by_qrels(arguments: argparse.Namespace, items: Sequence[Side], query: Side) -> Pool:
    """Items are the union of both files' ids; one with an image or a text alone is only that. Of
    more than two modalities, an item has all."""
    if len(items) > 2:
        return _by_same_ids(arguments, items, query)
    image, text = items
    grades, given = qrels.read(arguments.qrels), [qrels.ids(image.source), qrels.ids(text.source)]
    ids = [qrels.ids_file(side.source) for side in (image, text)]
    named = [file.is_file() for file in ids]
    if given[0] != given[1] and not all(named):
        raise AligngapError(
            f"{image.given} has {len(given[0])} rows and {text.given} {len(given[1])}, and which "
            f"belong together says no {ids[named[0]]}"
        )
    names = list(dict.fromkeys(given[0] + given[1]))
    of = str(query.given), f"{image.given} and {text.given}"
    right = qrels.right(arguments.qrels, grades, qrels.ids(query.source), names, of)
    if given[0] == given[1]:
        return _of_queries(arguments, query, right, _streamed(items), None)
    rows = [side.all() for side in items]
    places = [{name: row for row, name in enumerate(each)} for each in given]
    both = np.array([[place.get(name, -1) for place in places] for name in names])
    there = both >= 0
    images, texts = (
        np.where(there[:, [side]], rows[side][both[:, side]], rows[1 - side][both[:, 1 - side]])
        for side in (0, 1)
    )
    shown = np.stack([there[:, 0], ~there[:, 1]], axis=1)
    return _of_queries(arguments, query, right, chunks_of(images, texts), shown)


def _by_same_ids(arguments: argparse.Namespace, items: Sequence[Side], query: Side) -> Pool:
    names = qrels.ids(items[0].source)
    for side in items[1:]:
        if qrels.ids(side.source) != names:
            raise UsageError(
                f"{side.given} has other ids than {items[0].given}; with --modality every item "
                "stands in every file, in the same order"
            )
    of = str(query.given), str(items[0].given)
    grades = qrels.read(arguments.qrels)
    right = qrels.right(arguments.qrels, grades, qrels.ids(query.source), names, of)
    return _of_queries(arguments, query, right, _streamed(items), None)


def _of_queries(
    arguments: argparse.Namespace,
    query: Side,
    right: Right,
    chunks: Chunks,
    shown: np.ndarray | None,
) -> Pool:
    """The queries that have a right item; beyond --queries a sample of them."""
    asking = np.unique(right.query)
    chosen = asking[sample(len(asking), arguments.queries, arguments.seed)]
    kept = np.isin(right.query, chosen)
    numbers = np.searchsorted(chosen, right.query[kept])
    left = Right(numbers, right.item[kept], right.grade[kept])
    return Pool(chunks, query.all()[chosen], left, shown, query.source.shape[0])


def _streamed(items: Sequence[Side], kept: Bool[np.ndarray, "N"] | None = None) -> Chunks:
    """Rows of all files (those that are kept), GROUPS at a time, read anew in each pass."""
    passes = iter(("Reading the right items", "Comparing queries with items"))

    def chunks() -> Iterator[Chunk]:
        count = items[0].source.shape[0]
        with progress.Bar(next(passes), count, "items") as bar:
            for start in range(0, count, GROUPS):
                rows = [side.at(start, start + GROUPS) for side in items]
                there = slice(None) if kept is None else kept[start : start + GROUPS]
                if len(rows[0][there]):
                    yield tuple(each[there] for each in rows)
                bar.advance(len(rows[0]))

    return chunks
