"""Queries and documents of a search in one file: rows with an id, and a text, an image or both.

MixBench's forms: `*.jsonl` with query_id | corpus_id, text, image (a path from the file's folder),
and `*.parquet` with id, text, image {bytes}. A row need not have both.
"""

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from aligngap.data import store
from aligngap.data.sources import columnar, tables
from aligngap.data.sources.raw import HALF, Columns, LeftOut, Place
from aligngap.errors import AligngapError

SUFFIXES = (".jsonl", ".parquet")
IDS = ("query_id", "corpus_id", "id")


class Documents(NamedTuple):
    """Those rows of a file that have what was asked for."""

    ids: list[str]
    stamps: list[str]  # Another one whenever what is read is another.
    read: Callable[[int], Any]  # Row of `ids` → the image's bytes, or the text.


class _Row(NamedTuple):
    id: str
    text: str
    image: str  # Its path; of a parquet file its row. "": none.


def images(path: Path) -> Documents:
    """The rows that have an image. AligngapError for one that is not there, or lies elsewhere."""
    rows = [row for row in _rows(path) if row.image]
    ids = [row.id for row in rows]
    if path.suffix == ".parquet":
        reader, stamp = columnar.Parquet(Columns(image="image")), store.stamp(str(path))
        places = [Place(int(row.image), 1) for row in rows]
        return Documents(ids, [stamp], lambda at: reader.read(str(path), places[at]).image)
    files = [_inside(path, row) for row in rows]
    try:
        stamps = [store.stamp(str(file)) for file in files]
    except OSError as error:
        raise AligngapError(f"{path}: {error.filename} cannot be read: {error.strerror}") from error
    return Documents(ids, stamps, lambda at: store.read(str(files[at])))


def texts(path: Path) -> Documents:
    """The rows that have a text."""
    rows = [row for row in _rows(path) if row.text]
    found = [row.text for row in rows]
    return Documents([row.id for row in rows], found, found.__getitem__)


def _rows(path: Path) -> Iterator[_Row]:
    """In the file's order; AligngapError for a row that has neither, and for an id that is none or
    another row's."""
    seen: set[str] = set()
    for number, found in enumerate(_read(path), 1):
        where = f"{path} row {number}"
        if isinstance(found, LeftOut):
            raise AligngapError(f"{path}: {found}")
        key = next((name for name in IDS if found.get(name) not in (None, "")), "")
        if not key:
            raise AligngapError(f"{where} has no id; expected one of {', '.join(IDS)}")
        row = _Row(str(found[key]), *(found.get(name) or "" for name in ("text", "image")))
        if row.id in seen:
            raise AligngapError(f"{where}: {row.id} is the id of an earlier row, too")
        if not all(isinstance(part, str) for part in row):
            raise AligngapError(f"{where}: expected a text, and the path of an image")
        if any(HALF.search(part) for part in row):
            raise AligngapError(f"{where}: a text of it is no UTF-8")
        if not (row.text or row.image):
            raise AligngapError(f"{where}: {row.id} has neither a text nor an image")
        seen.add(row.id)
        yield row


def _read(path: Path) -> Iterator[Any]:
    """A mapping a row; images of parquet are their rows' numbers, their bytes are not kept."""
    if path.suffix == ".parquet":
        return _parquet(path)
    return tables.rows(path, Columns())


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.compute
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        wanted = [name for name in (*IDS, "text", "image") if name in file.schema_arrow.names]
        number = 0
        for batch in file.iter_batches(batch_size=256, columns=wanted):
            images = pa.nulls(len(batch))
            if "image" in wanted:
                images = batch["image"]
                if pa.types.is_struct(images.type):
                    images = pyarrow.compute.struct_field(images, "bytes")
            said = batch.select([name for name in wanted if name != "image"]).to_pylist()
            for row, held in zip(said, images.is_valid().to_pylist(), strict=True):
                yield {**row, "image": str(number) if held else ""}
                number += 1
    except columnar.UNREADABLE as error:
        raise AligngapError(f"{path} is no parquet file that can be read: {error}") from error


def _inside(path: Path, row: _Row) -> Path:
    """The file of a row's image; AligngapError for a path that leads out of the folder."""
    name = PurePosixPath(row.image)
    if name.is_absolute() or ".." in name.parts:
        raise AligngapError(
            f"{path}: the image of {row.id}, {row.image}, lies outside of {path.parent}"
        )
    return path.parent / name
