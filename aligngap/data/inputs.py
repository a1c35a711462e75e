"""Images and texts that a user names: a folder, a glob, a list, a corpus's split, tar shards.

Always in one order: files by name, lists and shards as they are. Shards are those of webdataset:
what a member's name says up to its first dot is the sample, the rest the kind. Members are read in
place; nothing is unpacked, no name in an archive is ever followed. Of queries and documents
(`documents`) each row has its own id.
"""

import glob
import hashlib
import itertools
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Generic, NamedTuple, TypeVar

from aligngap.data import corpora, documents, records, store
from aligngap.data.records import Record
from aligngap.data.sources import tar
from aligngap.errors import AligngapError

IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".ppm", ".avif", ".jp2", ".ico", ".tga"),
)
T = TypeVar("T")


@dataclass(frozen=True)
class Inputs(Generic[T]):
    """N images (encoded bytes) or texts. `digest` changes when any of them does."""

    given: str  # As the user wrote it.
    ids: Sequence[str]  # [N]
    read: Callable[[int], T]  # Row → it. Threads may call it; AligngapError where it is gone.
    digest: str
    pairs: bool = True  # Whether an image and a text of one name each belong together.


@dataclass(frozen=True)
class Where:
    """What a name may stand for: corpora in `data_dir`, and how many keywords a caption has."""

    data_dir: Path
    max_keywords: int


class _Member(NamedTuple):
    shard: Path
    sample: str
    suffix: str
    offset: int
    size: int


def images(given: str, where: Where) -> Inputs[bytes]:
    """Folder (searched to its leaves), FILE, glob, LIST.txt of paths, *.tar, *.jsonl or *.parquet
    of documents, or CORPUS/SPLIT.

    AligngapError where there is none, or no image in it.
    """
    if split := _corpus_split(given, where):
        return _of_split(given, where, split, lambda record: record.image, "")
    paths = _paths(given)
    if paths[0].suffix == ".tar":
        return _of_shards(given, paths, IMAGE_SUFFIXES, lambda content, _: content)
    if _holds_documents(paths):
        return _of_documents(given, documents.images(paths[0]), "image")
    if len(paths) == 1 and paths[0].is_dir():
        names = sorted(map(PurePosixPath, store.listing(str(paths[0]))))
        shown = [name for name in names if name.suffix.lower() in IMAGE_SUFFIXES]
        files = {str(name): paths[0] / name for name in shown}
    elif len(paths) == 1 and paths[0].suffix == ".txt":
        files = {line: Path(line) for line in _lines(paths[0]) if line.strip()}
    else:
        files = {str(path): path for path in paths if path.is_file()}
    if not files:
        raise AligngapError(f"{given} holds no image; expected files such as *.png or *.jpg")
    return _of_files(given, files)


def texts(given: str, where: Where) -> Inputs[str]:
    """A UTF-8 file of one text a line (an empty line is an empty text), *.tar, *.jsonl or *.parquet
    of documents, or CORPUS/SPLIT.

    The texts of a split are the captions that evaluation uses. AligngapError as `images`.
    """
    if split := _corpus_split(given, where):
        count = where.max_keywords
        caption = lambda record: records.caption(record, count)  # noqa: E731
        return _of_split(given, where, split, caption, f"{count} keywords")
    paths = _paths(given)
    if paths[0].suffix == ".tar":
        return _of_shards(given, paths, (".txt",), _decoded)
    if _holds_documents(paths):
        return _of_documents(given, documents.texts(paths[0]), "text")
    if len(paths) > 1 or not paths[0].is_file():
        raise AligngapError(
            f"{given}: expected one file of texts, *.tar shards, documents or CORPUS/SPLIT"
        )
    lines = _lines(paths[0])
    if not lines:
        raise AligngapError(f"{given} is empty; expected one text a line")
    ids = [str(number) for number in range(1, len(lines) + 1)]
    return Inputs(given, ids, lines.__getitem__, _digest(lines))


def _corpus_split(given: str, where: Where) -> tuple[str, str] | None:
    """CORPUS/SPLIT of a corpus that can be found; files of that name come first."""
    corpus, slash, split = given.rpartition("/")
    if not slash or store.exists(given) or any(glob.iglob(given, recursive=True)):  # noqa: PTH207
        return None
    return (corpus, split) if corpora.known(corpus, where.data_dir) else None


def _of_split(
    given: str, where: Where, split: tuple[str, str], part: Callable[[Record], T], more: str
) -> Inputs[T]:
    """A row's id says its split, its place and what the corpus calls it."""
    source = corpora.find(split[0], where.data_dir).open(split[1])
    names = [source[row].name for row in range(len(source))]
    ids = ["/".join(filter(None, (split[1], str(row), name))) for row, name in enumerate(names)]
    version = f"{source.version} {more}"
    return Inputs(given, ids, lambda row: part(source[row]), _digest([version, *ids]))


def _holds_documents(paths: Sequence[Path]) -> bool:
    return len(paths) == 1 and paths[0].suffix in documents.SUFFIXES and paths[0].is_file()


def _of_documents(given: str, found: documents.Documents, what: str) -> Inputs[Any]:
    if not found.ids:
        raise AligngapError(f"{given} holds no {what}: give it to the other flag alone")
    digest = _digest([*found.ids, *found.stamps])
    return Inputs(given, found.ids, found.read, digest, pairs=False)


def _of_files(given: str, files: dict[str, Path]) -> Inputs[bytes]:
    ids, paths = list(files), list(files.values())
    return Inputs(
        given,
        ids,
        lambda row: _read(paths[row]),
        _digest(line for name, path in files.items() for line in (name, _stamp(given, path))),
    )


def _of_shards(
    given: str,
    shards: Sequence[Path],
    suffixes: tuple[str, ...],
    decode: Callable[[bytes, str], T],
) -> Inputs[T]:
    members = [m for shard in shards for m in _members(shard) if m.suffix in suffixes]
    ids = [f"{member.shard}/{member.sample}" for member in members]
    if not members:
        raise AligngapError(f"{given} holds no member named *{suffixes[0]} or the like")
    twice = next((name for name, after in itertools.pairwise(sorted(ids)) if name == after), None)
    if twice:
        raise AligngapError(f"{given}: {twice} has several members of one kind; expected one")
    stamps = [_stamp(given, shard) for shard in shards]
    return Inputs(
        given, ids, lambda row: decode(_read_member(members[row]), ids[row]), _digest(ids + stamps)
    )


def _members(shard: Path) -> Iterator[_Member]:
    """The plain files of a shard; AligngapError where it ends too early or is no tar."""
    try:
        size = shard.stat().st_size
        with shard.open("rb") as file, tar.opened(file, "surrogateescape") as archive:
            for entry in tar.members(archive):
                if entry.offset_data + entry.size > size:
                    raise tarfile.ReadError(f"{entry.name} is cut off")
                folder, _, name = entry.name.rpartition("/")
                sample, _, kind = name.partition(".")
                if entry.isreg() and not entry.issparse():
                    sample = f"{folder}/{sample}" if folder else sample
                    suffix = f".{kind.lower()}"
                    yield _Member(shard, sample, suffix, entry.offset_data, entry.size)
            if not tar.ends(shard, archive.offset):
                raise tarfile.ReadError(f"it should end at byte {archive.offset}")
    except (tarfile.TarError, OSError) as error:
        raise AligngapError(f"{shard}: not a whole, uncompressed tar ({error})") from error


def _read_member(member: _Member) -> bytes:
    with member.shard.open("rb") as file:
        file.seek(member.offset)
        return file.read(member.size)


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise AligngapError(f"{name}: its text is no UTF-8 ({error.reason})") from error


def _paths(given: str) -> list[Path]:
    """What a name stands for in the file system, one path or more."""
    if store.exists(given):
        return [Path(given)]
    found = [Path(name) for name in sorted(glob.glob(given, recursive=True))]  # noqa: PTH207
    if not found:
        raise AligngapError(
            f"{given}: no such file or folder, and it matches nothing; a corpus's split is named "
            f"like {next(iter(corpora.CORPORA))}/train"
        )
    return found


def _lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file, whose last may or may not end; AligngapError names a bad one."""
    content = _read(path)
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise AligngapError(
            f"{path} line {line}: byte 0x{content[error.start]:02x} is no UTF-8; convert the file"
        ) from error
    return [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AligngapError(f"{path} cannot be read: {error.strerror}") from error


def _stamp(given: str, path: Path) -> str:
    """A file's size and time of change."""
    try:
        found = path.stat()
    except OSError as error:
        raise AligngapError(f"{given}: {path} cannot be read: {error.strerror}") from error
    return f"{found.st_size} {found.st_mtime_ns}"


def _digest(parts: "Iterator[str] | Sequence[str]") -> str:
    """SHA-256 of strings, their borders included."""
    sha = hashlib.sha256()
    for part in parts:
        encoded = part.encode(errors="surrogateescape")
        sha.update(len(encoded).to_bytes(8, "little") + encoded)
    return sha.hexdigest()
