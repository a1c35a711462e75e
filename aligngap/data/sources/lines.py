"""What tables, folders and annotations say, gathered: one line of JSON an image, read at random.

A quoted CSV or a JSON document cannot be read in the middle; these lines can. Images stay where
they are. A line: {"image": PATH, "captions": [...], "keywords": [...], "labels": {...}, "role"}, or
{"left_out": [REASON, DETAIL]} for a row that cannot become a record.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aligngap import addresses, json_text
from aligngap.data import store
from aligngap.data.sources.raw import ROLES, Columns, LeftOut, Place, Raw, role_of, split_of
from aligngap.errors import AligngapError, Gone, StoreError

SITES = ("http", "https")  # Whose images are fetched first, for instance with img2dataset.
PART = 2**20  # Bytes; a part has the lines that begin in it.
Row = Mapping[str, Any]
LINE = {"image": str, "captions": [str], "keywords": [str], "labels": {str: str}}


class Lines:
    """The format of gathered lines: a place is (first byte, bytes) of a line."""

    by_parts = False

    def __init__(self, columns: Columns, images: str) -> None:
        self._columns, self._images = columns, images

    def parts(self, shard: str) -> int:
        return -(-store.size(shard) // PART)

    def places(self, shard: str, part: int) -> Iterator[Place | LeftOut]:
        with Path(shard).open("rb") as file:
            file.seek(max(0, part * PART - 1))
            if part:
                file.readline()  # The line that began before; or just the end of one.
            while (offset := file.tell()) < (part + 1) * PART and (line := file.readline()):
                about = json.loads(line)
                bad = about.get("left_out")
                yield LeftOut(*bad) if bad else Place(offset, len(line))

    def read(self, shard: str, place: Place) -> Raw:
        about = _stored(shard, place)
        path = store.joined(self._images, about["image"])
        try:
            image = store.read(path)
        except AligngapError as error:
            if isinstance(error, StoreError) and not isinstance(error, Gone):
                raise
            raise LeftOut("image is missing", str(error)) from error
        return Raw(
            image,
            about["captions"],
            about["keywords"],
            about["labels"],
            about["image"],
            [about.get("role", "")],
        )

    def captions(self, shard: str, place: Place) -> Sequence[str]:
        found: list[str] = _stored(shard, place)["captions"]
        return found


def _stored(shard: str, place: Place) -> dict[str, Any]:
    """AligngapError where none stands at the place: the lines or their index are damaged."""
    try:
        found: dict[str, Any] = json_text.value(store.read(shard, *place))
        json_text.expect(found, LINE)
    except (ValueError, KeyError) as error:
        raise AligngapError(
            f"{shard} has no line at byte {place.offset} ({error}): delete its folder and prepare "
            "again"
        ) from error
    return found


def gather(rows: Iterable[Row | LeftOut], columns: Columns, target: Path) -> None:
    """Rows → lines, those of one image in one, in the order of the images' first rows.

    Distinct images are held in memory, some 500 bytes each: beyond tens of millions, take tars.
    """
    found: dict[str, dict[str, Any]] = {}
    bad: list[LeftOut] = []
    for row in rows:
        try:
            if isinstance(row, LeftOut):
                raise row
            line = _line(row, columns)
        except LeftOut as left_out:
            bad.append(left_out)
            continue
        first = found.setdefault(line["image"], line)
        if first is not line:
            first["captions"] += line["captions"]
            first["keywords"] = list(dict.fromkeys(first["keywords"] + line["keywords"]))
            # Whoever says that an image is held out is heard, whatever others say.
            first["role"] = max(first["role"], line["role"], key=ROLES.index)
    partial = target.with_suffix(".partial")
    with partial.open("w", encoding="utf-8", errors="replace") as file:
        for line in found.values():
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        for reason in bad:
            file.write(json.dumps({"left_out": [reason.reason, reason.detail]}) + "\n")
    partial.replace(target)


def _line(row: Row, columns: Columns) -> dict[str, Any]:
    name = columns.image_in(row)
    if not row.get(name):
        raise LeftOut("no image", addresses.redacted(str(row))[:100])
    if addresses.has_credentials(str(row[name])):
        raise LeftOut("credentials in an address", addresses.redacted(str(row[name])))
    if addresses.scheme(str(row[name])) in SITES:
        raise LeftOut("an image is only a URL", str(row[name]))
    if "\0" in str(row[name]):
        raise LeftOut("image is missing", f"{row[name]!r}: no file's name holds a zero byte")
    if any(_broken(text) for text in row.values()):
        raise LeftOut("text is no UTF-8", ascii(row[name]))
    return {
        "image": str(row[name]),
        "captions": columns.texts(row),
        "keywords": columns.keywords_of(row),
        "labels": columns.labels_of(row),
        "role": role_of([split_of(row)]),
    }


def _broken(value: Any) -> bool:
    """Whether a text holds bytes that were no UTF-8: surrogates, as the readers leave them."""
    if isinstance(value, str):
        return not value.isascii() and any("\udc80" <= letter <= "\udcff" for letter in value)
    return isinstance(value, list | tuple) and any(_broken(part) for part in value)
