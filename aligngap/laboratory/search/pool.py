"""What is searched: embeddings in files, their rows put together to items."""

import argparse
import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Bool, Float, Int

from aligngap import progress
from aligngap.errors import AligngapError, UsageError
from aligngap.gap import GapTransform, copies, sources
from aligngap.gap.copies import Items
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


def read(arguments: argparse.Namespace, transform: GapTransform | None) -> Pool:
    """The pool of the files, every row of it transformed where there is a transform."""
    image, text, query = (
        Side(sources.embeddings(getattr(arguments, modality)), modality, transform)
        for modality in ("image", "text", "query")
    )
    shapes = [side.source.shape for side in (image, text, query)]
    for other, shape in zip((text, query), shapes[1:], strict=True):
        if shape[1] != shapes[0][1]:
            raise AligngapError(
                f"{image.given} has {shapes[0][1]} dimensions and {other.given} {shape[1]}; "
                "expected embeddings of one model"
            )
    if arguments.qrels:
        return _by_qrels(arguments, image, text, query)
    if not shapes[0] == shapes[1] == shapes[2]:
        raise UsageError(
            f"{query.given} has {shapes[2][0]} rows, {image.given} {shapes[0][0]} and "
            f"{text.given} {shapes[1][0]}; expected one query an item, row i of all three, or "
            "--qrels=FILE.tsv"
        )
    items = copies.find(zip(image.given_rows(), text.given_rows(), strict=True))
    return _of_items(arguments, query, items, image, text)


class Side:
    """The rows of a file, as they are searched."""

    def __init__(self, source: StoredArray, modality: str, transform: GapTransform | None) -> None:
        if transform:
            transform.expect(source)
        self.source, self.given = source, source.given
        self._modality, self._transform = modality, transform
        self._unit = UnitRows(source)

    def at(self, start: int, stop: int) -> Float[np.ndarray, "n D"]:
        """Those rows, or as many as are left, of length 1; transformed where that is asked."""
        rows = self._unit.at(start, stop)
        if self._transform is None:
            return rows
        return self._transform.changed(self._modality, rows, start, self.given)

    def given_rows(self) -> Iterator[Float[np.ndarray, "n D"]]:
        """All of them, GROUPS at a time, not transformed."""
        for start in range(0, self.source.shape[0], GROUPS):
            yield self._unit.at(start, start + GROUPS)

    def all(self) -> Float[np.ndarray, "N D"]:
        """All of them."""
        starts = range(0, self.source.shape[0], GROUPS)
        return np.concatenate([self.at(start, start + GROUPS) for start in starts])


def _of_items(
    arguments: argparse.Namespace, query: Side, items: Items, image: Side, text: Side
) -> Pool:
    """Pairs that share an image or a text are one item: the first of them stands in the pool, and
    the queries of all of them ask for it; else its copies would stand before it."""
    first = np.zeros(len(items.group), bool)
    first[np.unique(items.group, return_index=True)[1]] = True
    right = Right(np.arange(len(items.group)), items.group, np.ones(len(items.group)))
    pool = _of_queries(arguments, query, right, _streamed(image, text, first), None)
    return dataclasses.replace(pool, clusters=pool.right.item, copies=items.copies)


def _by_qrels(arguments: argparse.Namespace, image: Side, text: Side, query: Side) -> Pool:
    """Items are the union of both files' ids; one with an image or a text alone is only that."""
    grades, given = qrels.read(arguments.qrels), [qrels.ids(image.source), qrels.ids(text.source)]
    ids = [qrels.ids_file(side.source) for side in (image, text)]
    named = [file.is_file() for file in ids]
    if given[0] != given[1] and not all(named):
        raise AligngapError(
            f"{image.given} has {len(given[0])} rows and {text.given} {len(given[1])}, and which "
            f"belong together says no {ids[named[0]]}"
        )
    items = list(dict.fromkeys(given[0] + given[1]))
    of = str(query.given), f"{image.given} and {text.given}"
    right = qrels.right(arguments.qrels, grades, qrels.ids(query.source), items, of)
    if given[0] == given[1]:
        return _of_queries(arguments, query, right, _streamed(image, text), None)
    rows = [side.all() for side in (image, text)]
    places = [{name: row for row, name in enumerate(names)} for names in given]
    both = np.array([[place.get(name, -1) for place in places] for name in items])
    there = both >= 0
    images, texts = (
        np.where(there[:, [side]], rows[side][both[:, side]], rows[1 - side][both[:, 1 - side]])
        for side in (0, 1)
    )
    shown = np.stack([there[:, 0], ~there[:, 1]], axis=1)
    return _of_queries(arguments, query, right, chunks_of(images, texts), shown)


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


def _streamed(image: Side, text: Side, kept: Bool[np.ndarray, "N"] | None = None) -> Chunks:
    """Rows of both files (those that are kept), GROUPS at a time, read anew in each pass."""
    passes = iter(("Reading the right items", "Comparing queries with items"))

    def chunks() -> Iterator[Chunk]:
        count = image.source.shape[0]
        with progress.Bar(next(passes), count, "items") as bar:
            for start in range(0, count, GROUPS):
                rows = image.at(start, start + GROUPS), text.at(start, start + GROUPS)
                there = slice(None) if kept is None else kept[start : start + GROUPS]
                if len(rows[0][there]):
                    yield rows[0][there], rows[1][there]
                bar.advance(len(rows[0]))

    return chunks
