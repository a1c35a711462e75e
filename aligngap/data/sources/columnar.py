"""Parquet, and what Hugging Face's `save_to_disk` leaves: images and texts in columns.

Values lie in compressed pages: a record alone cannot be read, only its row group, which is then
kept for the records around it; so the order to read in is by blocks. A place is (first row, how
many rows): neighbouring rows of one image are one record.
"""

import bisect
import contextlib
import functools
import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from aligngap.addresses import is_remote
from aligngap.data.sources.kept import Kept
from aligngap.data.sources.parquet_ranges import remote_footer, remote_group
from aligngap.data.sources.raw import Columns, LeftOut, Place, Raw, split_of
from aligngap.errors import AligngapError

# What Arrow raises for what is damaged, and for values that Python has no type for.
UNREADABLE = (pa.ArrowException, OSError, ValueError, OverflowError)
GROUPS_KEPT = 16  # Row groups that a process holds, of all that is not read in blocks.
_READING = threading.Lock()  # One file's reader serves one thread at a time.


class Parquet:
    """The format of `*.parquet` with images in a column of bytes."""

    by_parts = True

    def __init__(self, columns: Columns, groups: "Kept[Any] | None" = None) -> None:
        self._columns, self._groups = columns, groups or _GROUPS

    def parts(self, shard: str) -> int:
        return len(self._starts(shard)) - 1

    def places(self, shard: str, part: int) -> Iterator[Place | LeftOut]:
        """Those of the images that begin in a row group; the last may go on in the next ones."""
        starts = self._starts(shard)
        last = self._image(shard, starts[part] - 1) if part else b""
        first = starts[part]
        for row in range(starts[part], starts[-1]):
            image = self._image(shard, row)
            if image == last and image:
                first += row == first  # Of what began in an earlier group.
                continue
            if row > first:
                yield Place(first, row - first)
            if row >= starts[part + 1]:
                return
            first, last = row, image
        if first < starts[part + 1]:
            yield Place(first, starts[-1] - first)

    def read(self, shard: str, place: Place) -> Raw:
        rows = [self._row(shard, place.offset + number) for number in range(place.size)]
        name = f"{Path(shard).name}/{place.offset}"
        image = _bytes(rows[0][self._image_column(shard)])
        if not image:
            raise LeftOut("no image", name)
        captions = [text for row in rows for text in self._columns.texts(row)]
        keywords = dict.fromkeys(word for row in rows for word in self._columns.keywords_of(row))
        labels, splits = self._columns.labels_of(rows[0]), [split_of(row) for row in rows]
        return Raw(image, captions, list(keywords), labels, name, splits)

    def captions(self, shard: str, place: Place) -> Sequence[str]:
        return self.read(shard, place).captions

    def _row(self, shard: str, row: int) -> dict[str, Any]:
        group, place = self._find(shard, row)
        with _telling():
            (found,) = self._group(shard, group).slice(place, 1).to_pylist()
        return dict(found)

    def _image(self, shard: str, row: int) -> bytes:
        group, place = self._find(shard, row)
        column = self._group(shard, group)[self._image_column(shard)]
        with _telling():
            return _bytes(column[place].as_py())

    def _find(self, shard: str, row: int) -> tuple[int, int]:
        """(row group, place in it) of a row of the shard."""
        starts = self._starts(shard)
        group = bisect.bisect_right(starts, row) - 1
        return group, row - starts[group]

    def _image_column(self, shard: str) -> str:
        return image_column(shard, self._schema(shard), self._columns)

    def _starts(self, shard: str) -> list[int]:
        return _parquet_starts(shard)

    def _schema(self, shard: str) -> Any:
        return _parquet(shard).schema_arrow

    def _group(self, shard: str, group: int) -> Any:
        return self._groups(shard, group)


class Arrow(Parquet):
    """The format of `data-*.arrow`, streams of record batches."""

    def _starts(self, shard: str) -> list[int]:
        return _arrow_starts(shard)

    def _schema(self, shard: str) -> Any:
        return _batches(shard)[0].schema

    def _group(self, shard: str, group: int) -> Any:
        return pa.Table.from_batches([_batches(shard)[group]])


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    """LeftOut for a row that cannot be read."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise LeftOut("text is no UTF-8", f"byte 0x{error.object[error.start]:02x}") from error
    except UNREADABLE as error:
        raise LeftOut("a row cannot be read", str(error)) from error


def image_column(shard: str, schema: Any, columns: Columns) -> str:
    """The name of the column of images; AligngapError where there is none."""
    column = columns.image_in(schema.names)
    if not column:
        raise AligngapError(
            f"{shard} has no column of images among {', '.join(schema.names)}: name it with "
            "--image_column (a URL alone must be fetched first, for instance with img2dataset)"
        )
    return column


def names_paths(shard: str, columns: Columns) -> bool:
    """Whether a parquet file names its images by paths, so that it is a table."""
    schema = _parquet(shard).schema_arrow
    found = schema.field(image_column(shard, schema, columns)).type
    kind = found.value_type if pa.types.is_dictionary(found) else found
    texts = pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view
    return any(is_text(kind) for is_text in texts)


@functools.lru_cache(maxsize=64)
def _parquet(shard: str) -> Any:
    try:
        found = pyarrow.parquet.ParquetFile(remote_footer(shard) if is_remote(shard) else shard)
        _check_names(found.schema_arrow)
        return found
    except UNREADABLE as error:
        raise AligngapError(f"{shard} is no parquet file that can be read: {error}") from error


def _read_group(shard: str, group: int) -> Any:
    file = _parquet(shard)
    try:
        if is_remote(shard):
            held = remote_group(shard, file.metadata, group)
            return pyarrow.parquet.ParquetFile(held, metadata=file.metadata).read_row_group(group)
        with _READING:
            return file.read_row_group(group)
    except UNREADABLE as error:
        raise AligngapError(f"{shard}: row group {group} cannot be read: {error}") from error


def kept(most: int) -> Kept[Any]:
    """(shard, row group) → its table, of which so many are held."""
    return Kept(_read_group, most)


_GROUPS = kept(GROUPS_KEPT)


@functools.lru_cache(maxsize=64)
def _batches(shard: str) -> list[Any]:
    """Mapped into memory; of what is read only texts, and where values begin and end: Arrow goes
    wherever that leads."""
    try:
        stream = pyarrow.ipc.open_stream(pa.memory_map(shard))
        _check_names(stream.schema)
        found = list(stream)
        for batch in found:
            batch.validate(full=True)
        return found
    except UNREADABLE as error:
        raise AligngapError(f"{shard} is no Arrow stream that can be read: {error}") from error


def _check_names(schema: Any) -> None:
    """ValueError for columns that cannot be told apart, or whose names are no UTF-8."""
    twice = next((name for name in schema.names if schema.names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two of its columns are called {twice!r}")


@functools.lru_cache(maxsize=64)
def _parquet_starts(shard: str) -> list[int]:
    """The first row of each row group, and the number of rows."""
    about = _parquet(shard).metadata
    sizes = (about.row_group(group).num_rows for group in range(about.num_row_groups))
    return [0, *itertools.accumulate(sizes)]


@functools.lru_cache(maxsize=64)
def _arrow_starts(shard: str) -> list[int]:
    return [0, *itertools.accumulate(batch.num_rows for batch in _batches(shard))]


def _bytes(value: Any) -> bytes:
    """An image: bytes, or Hugging Face's {bytes, path}; b"" where there is none."""
    found = value.get("bytes") if isinstance(value, Mapping) else value
    return found or b""
