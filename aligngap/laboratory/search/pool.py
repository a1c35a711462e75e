"""What is searched: embeddings in files, their rows put together to items."""

import argparse
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt64

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
    copies: Mapping[str, int] = dataclasses.field(default_factory=dict)  # modality → how many.


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

    def digests(self) -> UInt64[np.ndarray, "N"]:
        """Of all of them, not transformed: a transform may put two on one place."""
        starts = range(0, self.source.shape[0], GROUPS)
        return np.concatenate([copies.digests(self._unit.at(i, i + GROUPS)) for i in starts])

    def all(self) -> Float[np.ndarray, "N D"]:
        """All of them."""
        starts = range(0, self.source.shape[0], GROUPS)
        return np.concatenate([self.at(start, start + GROUPS) for start in starts])


@dataclasses.dataclass(frozen=True)
class Numbers:
    """What is equal: of each item the numbers of its rows, of each query its own."""

    rows: Int[np.ndarray, "N M"]
    query: Int[np.ndarray, "Q"]

    @classmethod
    def of(
        cls, items: Sequence[UInt64[np.ndarray, "N"]], query: UInt64[np.ndarray, "Q"]
    ) -> "Numbers":
        """From digests; an image that equals a text has its number."""
        rows = copies.numbered(np.concatenate(items)).reshape(len(items), -1).T
        return cls(rows, copies.numbered(query))


def _of_items(arguments: argparse.Namespace, query: Side, items: Sequence[Side]) -> Pool:
    """Row i of all files is one item. Queries whose items share a row are drawn together."""
    own = np.arange(items[0].source.shape[0])
    numbers = Numbers.of([side.digests() for side in items], query.digests())
    alike = copies.linked(*numbers.rows.T, numbers.query)[copies.first(numbers.query)]
    right = Right(own, own, np.ones(len(own)))
    return _of_queries(arguments, query, right, items, numbers, alike=alike)


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
    digests = [side.digests() for side in items]
    if given[0] == given[1]:
        return _of_queries(arguments, query, right, items, Numbers.of(digests, query.digests()))
    rows = [side.all() for side in items]
    places = [{name: row for row, name in enumerate(each)} for each in given]
    both = np.array([[place.get(name, -1) for place in places] for name in names])
    there = both >= 0
    numbers = Numbers.of([_either(digests, both, side) for side in (0, 1)], query.digests())
    shown = np.stack([there[:, 0], ~there[:, 1]], axis=1)

    def held(kept: Bool[np.ndarray, "N"]) -> Chunks:
        return chunks_of(_either(rows, both[kept], 0), _either(rows, both[kept], 1))

    return _of_queries(arguments, query, right, items, numbers, held, shown)


def _either(
    values: Sequence[np.ndarray], places: Int[np.ndarray, "N 2"], side: int
) -> Shaped[np.ndarray, "N ..."]:
    """Of each item its value of a side, or of the other one where it has none there (−1)."""
    found = values[1 - side][places[:, 1 - side]]
    there = places[:, side] >= 0
    found[there] = values[side][places[there, side]]
    return found


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
    numbers = Numbers.of([side.digests() for side in items], query.digests())
    return _of_queries(arguments, query, right, items, numbers)


def _of_queries(
    arguments: argparse.Namespace,
    query: Side,
    right: Right,
    items: Sequence[Side],
    numbers: Numbers,
    held: Callable[[Bool[np.ndarray, "N"]], Chunks] | None = None,
    shown: Bool[np.ndarray, "N 2"] | None = None,
    alike: Int[np.ndarray, "Q"] | None = None,
) -> Pool:
    """The queries that have a right item; beyond --queries a sample of them. Equal queries are one,
    and so are items whose rows all are: their first stands for them. Without `held`, what gives the
    rows of those that are kept, these are in row i of all files."""
    item = copies.numbered(*numbers.rows.T)
    kept, first = copies.first(item), copies.first(numbers.query)
    if kept.sum() < 2:
        raise AligngapError(
            f"{' and '.join(side.given for side in items)}: all rows are one item, and nothing "
            "stands beside it; expected at least two that differ"
        )
    right = _once(numbers.query[right.query], item[right.item], right.grade)
    asking = np.unique(right.query)
    chosen = asking[sample(len(asking), arguments.queries, arguments.seed)]
    asked = np.isin(right.query, chosen)
    left = Right(
        np.searchsorted(chosen, right.query[asked]),
        right.item[asked],
        right.grade[asked],
        numbers.rows[kept],
    )
    return Pool(
        held(kept) if held else _streamed(items, kept),
        query.all()[first][chosen],
        left,
        None if shown is None else shown[kept],
        query.source.shape[0],
        None if alike is None else alike[chosen],
        _counted(items, numbers, first, shown),
    )


def _once(
    query: Int[np.ndarray, "R"], item: Int[np.ndarray, "R"], grade: Float[np.ndarray, "R"]
) -> Right:
    """Each pair once, by query, with the highest of its grades."""
    order = np.lexsort((-grade, item, query))
    kept = order[copies.first(copies.numbered(query[order], item[order]))]
    return Right(query[kept], item[kept], grade[kept])


def _counted(
    items: Sequence[Side],
    numbers: Numbers,
    first: Bool[np.ndarray, "Q"],
    shown: Bool[np.ndarray, "N 2"] | None,
) -> dict[str, int]:
    """modality → rows that repeat another one."""
    there = np.ones(numbers.rows.shape, bool)
    if shown is not None:
        there = np.stack([shown[:, 0], ~shown[:, 1]], axis=1)
    sides = zip(items, numbers.rows.T, there.T, strict=True)
    found = {side.modality: int((~copies.first(own[has])).sum()) for side, own, has in sides}
    return found | {"query": int((~first).sum())}


def _streamed(items: Sequence[Side], kept: Bool[np.ndarray, "N"]) -> Chunks:
    """Rows of all files that are kept, GROUPS at a time, read anew in each pass."""
    passes = iter(("Reading the right items", "Comparing queries with items"))

    def chunks() -> Iterator[Chunk]:
        count = items[0].source.shape[0]
        with progress.Bar(next(passes), count, "items") as bar:
            for start in range(0, count, GROUPS):
                rows = [side.at(start, start + GROUPS) for side in items]
                there = kept[start : start + GROUPS]
                if there.any():
                    yield tuple(each[there] for each in rows)
                bar.advance(len(rows[0]))

    return chunks
