"""Tar shards as webdataset and img2dataset leave them, read at random.

A member's name up to the first dot of its last part is the sample, the rest its kind; members of a
sample stand together. A place is all of a sample's bytes, headers included, so that one read brings
its image and its texts. Nothing is unpacked and no name is ever followed.
"""

import contextlib
import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Self

from aligngap.data import store
from aligngap.data.sources.raw import Columns, LeftOut, Place, Raw, decoded, parsed

BLOCK = 512  # Bytes of a header; contents are filled up to whole blocks.
MOST_END = 65 * BLOCK  # Bytes: two blocks of zeros, then a record's end: POSIX has up to 63 in one.
IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif")
# Members that say of the next one what its own header has no room for: names, times, attributes.
# Python reads them whole; before 3.11.10 it takes minutes for long ones of digits alone.
HEADERS = (*b"xgXLK",)
LONGEST = 2**14  # Bytes of one.


class Tar:
    """The format of `*.tar`: a place is (first byte, bytes) of a sample."""

    by_parts = False

    def __init__(
        self, columns: Columns, read: Callable[[str, int, int], bytes] = store.read
    ) -> None:
        self._columns, self._read = columns, read

    def parts(self, shard: str) -> int:
        """A shard is scanned from its begin to its end."""
        return 1

    def places(self, shard: str, part: int) -> Iterator[Place | LeftOut]:
        """The samples of a shard on this machine, in order, and what of it is none."""
        seen: set[str] = set()
        last = ""
        start = end = 0
        for entry in _members(Path(shard)):
            if isinstance(entry, LeftOut):
                yield entry
            elif not (entry.isreg() or entry.isdir()):
                yield LeftOut("a link or device in a tar", entry.name)
            elif (name := _sample(entry)) == last:
                end = _end(entry)
            elif name in seen:
                yield LeftOut("a sample twice in a tar", entry.name)
            elif name:
                if last:
                    yield Place(start, end - start)
                seen.add(name)
                last, start, end = name, entry.offset, _end(entry)
        if last:
            yield Place(start, end - start)

    def read(self, shard: str, place: Place) -> Raw:
        """What a sample has; LeftOut where something is missing."""
        members, name = _contents(self._read(shard, *place))
        try:
            return self._raw(members, name)
        except LeftOut as reason:
            raise reason.named(name) from None

    def captions(self, shard: str, place: Place) -> Sequence[str]:
        return self.read(shard, place).captions

    def _raw(self, members: dict[str, bytes], name: str) -> Raw:
        suffix = self._columns.image_in(members) or next(filter(members.get, IMAGES), "")
        if suffix not in members:
            raise LeftOut("no image")
        texts = {kind: decoded(members[kind]) for kind in members if kind in self._texts}
        row = texts | (parsed(members["json"]) if "json" in members else {})
        # A text beside the image comes before what its JSON calls a caption: img2dataset's habit.
        own = self._columns.captions or (("txt",) if "txt" in texts else ())
        columns = replace(self._columns, captions=own)
        texts_of = columns.texts(row), columns.keywords_of(row), columns.labels_of(row)
        return Raw(members[suffix], *texts_of, name)

    @property
    def _texts(self) -> set[str]:
        """Kinds of members that may hold text, beside JSON."""
        return {"txt", *self._columns.captions, *self._columns.labels}


class _Header(tarfile.TarInfo):
    """That of a member, whose size is believed only as far as it can be true."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)
        if found.size < 0 or (found.type[0] in HEADERS and found.size > LONGEST):
            raise tarfile.ReadError(f"a header claims {found.size} bytes")
        return found


@contextlib.contextmanager
def opened(file: IO[bytes], errors: str) -> Iterator[tarfile.TarFile]:
    """An uncompressed tar, its members one after the other; tarfile.ReadError for whatever is wrong
    with it. `errors`: how names that are no UTF-8 are taken."""
    try:
        with tarfile.open(fileobj=file, mode="r:", tarinfo=_Header, errors=errors) as archive:
            yield archive
    except (ValueError, ArithmeticError, RecursionError) as error:  # Numbers in its headers.
        raise tarfile.ReadError(f"a header cannot be read: {error}") from error


def members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """In order; tarfile.ReadError where one's size would lead back to where it has been read."""
    for entry in archive:
        if entry.size < 0:
            raise tarfile.ReadError(f"{entry.name} claims {entry.size} bytes")
        yield entry
        archive.members.clear()  # type: ignore[attr-defined]  # Else it keeps every one.


def _members(shard: Path) -> Iterator[tarfile.TarInfo | LeftOut]:
    """Whole members; at the end LeftOut where the shard stops too early or is damaged."""
    size = shard.stat().st_size
    try:
        with shard.open("rb") as file, opened(file, "backslashreplace") as archive:
            for entry in members(archive):
                if entry.offset_data + entry.size > size:
                    yield LeftOut("a tar is cut off", f"in {entry.name}")
                    return
                yield entry
        if not ends(shard, archive.offset):
            yield LeftOut("a tar is damaged or cut off", f"at byte {archive.offset}")
    except (tarfile.TarError, EOFError) as error:
        yield LeftOut("a tar is damaged or cut off", str(error))


def ends(shard: Path, at: int) -> bool:
    """Whether nothing but a tar's end lies from that byte on: no other tar, nor the zeros of a file
    that was never filled."""
    rest = shard.stat().st_size - at
    if not BLOCK <= rest <= MOST_END:
        return False
    with shard.open("rb") as file:
        file.seek(at)
        return not any(file.read())


def _sample(entry: tarfile.TarInfo) -> str:
    """The sample that a member belongs to; "" for a folder, and for ".DS_Store" and the like."""
    folder, slash, name = entry.name.rpartition("/")
    sample = name.partition(".")[0]
    return folder + slash + sample if sample and entry.isreg() else ""


def _end(entry: tarfile.TarInfo) -> int:
    return entry.offset_data + -(-entry.size // BLOCK) * BLOCK


def _contents(content: bytes) -> tuple[dict[str, bytes], str]:
    """(kind → bytes, the sample's name); LeftOut for two of one kind or a name that leads away."""
    found: dict[str, bytes] = {}
    name = ""
    try:
        with opened(io.BytesIO(content), "backslashreplace") as archive:
            for entry in members(archive):
                if entry.issparse() or not _sample(entry):
                    continue
                name = _sample(entry)
                kind = entry.name.rpartition("/")[2].partition(".")[2].lower()
                if entry.name.startswith("/") or ".." in entry.name.split("/"):
                    raise LeftOut("a path that leads out of a tar", entry.name)
                if kind in found:
                    raise LeftOut("two members of one name", entry.name)
                found[kind] = content[entry.offset_data : entry.offset_data + entry.size]
    except tarfile.TarError as error:  # Also where another member's header speaks of these.
        raise LeftOut("a tar is damaged or cut off", str(error)) from error
    return found, name
