"""Tables with a row a pair, annotations and folders → rows that name an image and its texts."""

import codecs
import csv
import gzip
import io
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

from aligngap import json_text
from aligngap.data import store
from aligngap.data.sources.lines import Row
from aligngap.data.sources.raw import Columns, LeftOut, parsed
from aligngap.errors import AligngapError, UsageError

LONGEST = 2**24  # Characters of a field; a quote that is never closed would swallow the file.
LONGEST_LINE = 4 * LONGEST  # Of a megabyte that unpacks to gigabytes no more than this is held.
_BREAK = re.compile(r"[\r\n]")


def rows(path: Path, columns: Columns) -> Iterator[Row | LeftOut]:
    """The rows of a table or of annotations, by the file's suffix; UsageError for other files."""
    kind = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    readers = {"csv": _csv, "tsv": _csv, "jsonl": _jsonl, "json": _json, "parquet": _parquet}
    if kind not in readers:
        raise UsageError(f"{path}: expected one of {', '.join('.' + name for name in readers)}")
    try:
        yield from readers[kind](path)
    except (OSError, EOFError, zlib.error) as error:
        raise AligngapError(f"{path} cannot be read: {error}") from error


def _csv(path: Path) -> Iterator[Row | LeftOut]:
    csv.field_size_limit(LONGEST)
    with _text(path) as file:
        first = next(_lines(path, file), "")
        file.seek(0)
        # Where a comma is the decimal point, spreadsheets write semicolons.
        between = "\t" if ".tsv" in path.suffixes else max(",\t;", key=first.count)
        plain = between == "\t" and not _quotes(_lines(path, file))
        file.seek(0)
        table = csv.reader(
            _lines(path, file),
            delimiter=between,
            quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL,
            skipinitialspace=True,
            strict=True,
        )
        names: list[str] = []
        while True:
            began = table.line_num + 1
            try:
                row = next(table)
            except StopIteration:
                return
            except csv.Error as error:
                if table.line_num > began or "unexpected end" in str(error):
                    raise AligngapError(
                        f"{path} line {began}: a quote is opened that is not closed there; it "
                        f"would swallow the rows up to line {table.line_num}: mend that row"
                    ) from None
                yield LeftOut("a row cannot be read", f"line {began}: {error}")
                continue
            if not names:
                names = row
                _check_header(path, names)
            elif row and len(row) != len(names):
                yield LeftOut("a row has other columns than the table", f"line {began}")
            elif row:
                yield dict(zip(names, row, strict=True))


def _quotes(lines: Iterator[str]) -> bool:
    """Whether fields between tabs are quoted: no quote stands elsewhere, and none swallows rows."""
    try:
        rows = csv.reader(lines, delimiter="\t", skipinitialspace=True, strict=True)
        return not any("\t" in field and _BREAK.search(field) for row in rows for field in row)
    except csv.Error:
        return False


def _check_header(path: Path, names: Sequence[str]) -> None:
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{path} has two columns that are called {twice!r}: rename one of them")


def _jsonl(path: Path) -> Iterator[Row | LeftOut]:
    with _text(path) as file:
        for number, line in enumerate(_lines(path, file), 1):
            try:
                row = json_text.value(line)
            except ValueError:
                row = None
            if isinstance(row, dict):
                yield row
            elif line.strip():
                yield LeftOut("JSON cannot be read", f"line {number}")


def _json(path: Path) -> Iterator[Row | LeftOut]:
    """COCO's annotations, or Karpathy's: both lie under `images`."""
    try:
        with _text(path) as file:
            found = json_text.value(file.read())
        images = found["images"]
        if "annotations" in found:
            return _coco(images, found["annotations"])
        return iter([_karpathy(image) for image in images])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AligngapError(
            f"{path}: neither COCO's form (images, annotations) nor Karpathy's (images with "
            f"sentences): {type(error).__name__} {error}"
        ) from error


def _coco(images: list[Row], annotations: list[Row]) -> Iterator[Row | LeftOut]:
    captions: dict[str, list[str]] = defaultdict(list)
    bad = []
    for annotation in annotations:
        if annotation.get("caption") is None or "image_id" not in annotation:
            bad.append(LeftOut("an annotation without caption", f"{annotation}"[:100]))
        else:  # By text: some tools write ids of images as numbers, and as text beside captions.
            captions[str(annotation["image_id"])].append(annotation["caption"])
    rows = [
        {"image": image["file_name"], "captions": captions[str(image["id"])]} for image in images
    ]
    return iter([*rows, *bad])


def _karpathy(image: Row) -> Row:
    path = PurePosixPath(image.get("filepath", ""), image["filename"])
    texts = [sentence["raw"] for sentence in image["sentences"]]
    return {"image": str(path), "captions": texts, "split": image.get("split", "")}


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow.parquet

    from aligngap.data.sources import columnar

    try:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    except columnar.UNREADABLE as error:
        raise AligngapError(f"{path} is no parquet file that can be read: {error}") from error


def folder(path: str, names: Sequence[str], suffixes: Sequence[str]) -> Iterator[Row | LeftOut]:
    """An image with what its `.txt` says, or its `.json`; its class of `folder` is the first of
    the folders that it lies in. `names`: all that is there; `suffixes`: those of images."""
    images = [name for name in names if PurePosixPath(name).suffix.lower() in suffixes]
    there, beside = {*names}, (".txt", ".TXT", ".json", ".JSON")
    sidecars = [
        [s for kind in beside if (s := str(PurePosixPath(name).with_suffix(kind))) in there]
        for name in images
    ]
    contents = store.read_each(store.joined(path, s) for own in sidecars for s in own)
    for name, own in zip(images, sidecars, strict=True):
        row: dict[str, Any] = {"image": name, "folder": name.partition("/")[0]}
        texts = {sidecar: next(contents) for sidecar in own}
        try:
            for sidecar, text in texts.items():
                if sidecar.lower().endswith(".txt"):
                    row["caption"] = text.decode("utf-8-sig", "surrogateescape")
                else:
                    row = parsed(text) | row
        except LeftOut as reason:
            yield reason.named(name)
            continue
        yield row


def _lines(path: Path, file: IO[str]) -> Iterator[str]:
    """With their ends; AligngapError for one that is longer than any row."""
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise AligngapError(f"{path} has a line of more than {LONGEST_LINE:,} characters")
        yield line


def _text(path: Path) -> IO[str]:
    """Bytes that are no UTF-8 become surrogates, by which their rows are known."""
    opened: Any = gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # noqa: SIM115
    if opened.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise AligngapError(f"{path} is UTF-16: save it as UTF-8")
    return io.TextIOWrapper(opened, "utf-8-sig", "surrogateescape", newline="")
