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
    return _of_items(arguments, image, text, query)


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
    """What is equal: of each item the numbers of its image and its text, of each query its own."""

    rows: Int[np.ndarray, "N 2"]
    query: Int[np.ndarray, "Q"]

    @classmethod
    def of(
        cls,
        image: UInt64[np.ndarray, "N"],
        text: UInt64[np.ndarray, "N"],
        query: UInt64[np.ndarray, "Q"],
    ) -> "Numbers":
        """From digests; an image that equals a text has its number."""
        rows = copies.numbered(np.concatenate([image, text])).reshape(2, -1).T
        return cls(rows, copies.numbered(query))


def _of_items(arguments: argparse.Namespace, image: Side, text: Side, query: Side) -> Pool:
    """Row i of all three is one item. Queries whose items share a row are drawn together."""
    count = image.source.shape[0]
    own = np.arange(count)
    numbers = Numbers.of(image.digests(), text.digests(), query.digests())
    alike = copies.linked(*numbers.rows.T, numbers.query)[copies.first(numbers.query)]
    return _of_queries(
        arguments,
        query,
        Right(own, own, np.ones(count)),
        numbers,
        lambda kept: _streamed(image, text, kept),
        alike=alike,
    )


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
    digests = image.digests(), text.digests()
    if given[0] == given[1]:
        numbers = Numbers.of(digests[0], digests[1], query.digests())
        return _of_queries(
            arguments, query, right, numbers, lambda kept: _streamed(image, text, kept)
        )
    rows = [side.all() for side in (image, text)]
    places = [{name: row for row, name in enumerate(names)} for names in given]
    both = np.array([[place.get(name, -1) for place in places] for name in items])
    there = both >= 0
    numbers = Numbers.of(_either(digests, both, 0), _either(digests, both, 1), query.digests())
    shown = np.stack([there[:, 0], ~there[:, 1]], axis=1)

    def held(kept: Bool[np.ndarray, "N"]) -> Chunks:
        return chunks_of(_either(rows, both[kept], 0), _either(rows, both[kept], 1))

    return _of_queries(arguments, query, right, numbers, held, shown)


def _either(
    values: Sequence[np.ndarray], places: Int[np.ndarray, "N 2"], side: int
) -> Shaped[np.ndarray, "N ..."]:
    """Of each item its value of a side, or of the other one where it has none there (−1)."""
    found = values[1 - side][places[:, 1 - side]]
    there = places[:, side] >= 0
    found[there] = values[side][places[there, side]]
    return found


def _of_queries(
    arguments: argparse.Namespace,
    query: Side,
    right: Right,
    numbers: Numbers,
    chunks: Callable[[Bool[np.ndarray, "N"]], Chunks],
    shown: Bool[np.ndarray, "N 2"] | None = None,
    alike: Int[np.ndarray, "Q"] | None = None,
) -> Pool:
    """The queries that have a right item; beyond --queries a sample of them. Equal queries are one,
    and so are items whose images and texts are: their first stands for them."""
    item = copies.numbered(*numbers.rows.T)
    kept, first = copies.first(item), copies.first(numbers.query)
    if kept.sum() < 2:
        raise AligngapError(
            f"{arguments.image} and {arguments.text}: all rows are one item, and nothing stands "
            "beside it; expected at least two that differ"
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
        chunks(kept),
        query.all()[first][chosen],
        left,
        None if shown is None else shown[kept],
        query.source.shape[0],
        None if alike is None else alike[chosen],
        _counted(numbers, first, shown),
    )


def _once(
    query: Int[np.ndarray, "R"], item: Int[np.ndarray, "R"], grade: Float[np.ndarray, "R"]
) -> Right:
    """Each pair once, by query, with the highest of its grades."""
    order = np.lexsort((-grade, item, query))
    kept = order[copies.first(copies.numbered(query[order], item[order]))]
    return Right(query[kept], item[kept], grade[kept])


def _counted(
    numbers: Numbers, first: Bool[np.ndarray, "Q"], shown: Bool[np.ndarray, "N 2"] | None
) -> dict[str, int]:
    """modality → rows that repeat another one."""
    there = np.ones(numbers.rows.shape, bool)
    if shown is not None:
        there = np.stack([shown[:, 0], ~shown[:, 1]], axis=1)
    sides = zip(("image", "text"), numbers.rows.T, there.T, strict=True)
    found = {name: int((~copies.first(own[has])).sum()) for name, own, has in sides}
    return found | {"query": int((~first).sum())}


def _streamed(image: Side, text: Side, kept: Bool[np.ndarray, "N"]) -> Chunks:
    """Rows of both files that are kept, GROUPS at a time, read anew in each pass."""
    passes = iter(("Reading the right items", "Comparing queries with items"))

    def chunks() -> Iterator[Chunk]:
        count = image.source.shape[0]
        with progress.Bar(next(passes), count, "items") as bar:
            for start in range(0, count, GROUPS):
                rows = image.at(start, start + GROUPS), text.at(start, start + GROUPS)
                there = kept[start : start + GROUPS]
                if there.any():
                    yield rows[0][there], rows[1][there]
                bar.advance(len(rows[0]))

    return chunks
