"""What is searched: embeddings in files, their rows put together to items."""

import argparse
import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float

from aligngap import progress
from aligngap.errors import AligngapError, UsageError
from aligngap.gap import files, sources
from aligngap.gap.sources import StoredArray
from aligngap.gap.streaming import GROUPS, sample
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


def read(arguments: argparse.Namespace) -> Pool:
    """The pool of the files. A transform of embeddings would have its place here, on every row
    that comes out of a file."""
    image, text, query = (
        sources.embeddings(given) for given in (arguments.image, arguments.text, arguments.query)
    )
    for other in (text, query):
        if other.shape[1] != image.shape[1]:
            raise AligngapError(
                f"{image.given} has {image.shape[1]} dimensions and {other.given} "
                f"{other.shape[1]}; expected embeddings of one model"
            )
    if arguments.qrels:
        return _by_qrels(arguments, image, text, query)
    if not image.shape == text.shape == query.shape:
        raise UsageError(
            f"{query.given} has {query.shape[0]} rows, {image.given} {image.shape[0]} and "
            f"{text.given} {text.shape[0]}; expected one query an item, row i of all three, or "
            "--qrels=FILE.tsv"
        )
    right = Right.own(query.shape[0])
    return _of_queries(arguments, query, right, _streamed(image, text), None)


def _by_qrels(
    arguments: argparse.Namespace, image: StoredArray, text: StoredArray, query: StoredArray
) -> Pool:
    """Items are the union of both files' ids; one with an image or a text alone is only that."""
    grades, given = qrels.read(arguments.qrels), [qrels.ids(image), qrels.ids(text)]
    named = [qrels.ids_file(source).is_file() for source in (image, text)]
    if given[0] != given[1] and not all(named):
        raise AligngapError(
            f"{image.given} has {image.shape[0]} rows and {text.given} {text.shape[0]}, and which "
            f"belong together says no {qrels.ids_file((image, text)[named[0]])}"
        )
    items = list(dict.fromkeys(given[0] + given[1]))
    of = str(query.given), f"{image.given} and {text.given}"
    right = qrels.right(arguments.qrels, grades, qrels.ids(query), items, of)
    if given[0] == given[1]:
        return _of_queries(arguments, query, right, _streamed(image, text), None)
    rows = [files.load(source.given) for source in (image, text)]
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
    query: StoredArray,
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
    return Pool(chunks, files.load(query.given)[chosen], left, shown, query.shape[0])


def _streamed(image: StoredArray, text: StoredArray) -> Chunks:
    """Rows of both files, GROUPS at a time, read anew in each pass."""
    passes = iter(("Reading the right items", "Comparing queries with items"))

    def chunks() -> Iterator[Chunk]:
        units = files.UnitRows(image), files.UnitRows(text)
        count = image.shape[0]
        with progress.Bar(next(passes), count, "items") as bar:
            for start in range(0, count, GROUPS):
                rows = units[0].at(start), units[1].at(start)
                yield rows
                bar.advance(len(rows[0]))

    return chunks
