"""Files that a user names: on this machine, or in a store that has a SCHEME:// (remote.py)."""

import contextlib
import glob
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from aligngap.addresses import is_remote
from aligngap.errors import AligngapError

if TYPE_CHECKING:
    from types import ModuleType

T = TypeVar("T")
READERS = 16  # Threads that ask a store at a time.
AHEAD = 256  # Files that are asked for before they are needed.


def paths(given: str) -> list[str]:
    """What a path or a glob names, in order; AligngapError where that is nothing."""
    if is_remote(given):
        found = _remote().matching(given)
    else:
        found = [given] if exists(given) else sorted(glob.glob(given, recursive=True))  # noqa: PTH207
    if not found:
        raise AligngapError(f"{given}: no such file or folder, and it matches nothing")
    return found


def exists(path: str) -> bool:
    """Whether a file or folder of this machine is called so; of what is too long for a name, as
    lists in braces are, none."""
    return os.path.exists(path)  # noqa: PTH110 Path.exists raises an error for those.


def absolute(path: str) -> str:
    """Also from another folder it names the same."""
    return path if is_remote(path) else str(Path(path).absolute())


def identity(path: str) -> str:
    """The same for all names of one file or folder, links as well."""
    return path if is_remote(path) else str(Path(path).resolve())


def is_folder(path: str) -> bool:
    """Whether things lie below it."""
    return _remote().is_folder(path) if is_remote(path) else Path(path).is_dir()


def listing(folder: str) -> list[str]:
    """The files below a folder, named from there, in order; also through links to folders, as of
    data that are spread over disks, each folder once."""
    return _remote().listing(folder) if is_remote(folder) else sorted(_below(folder))


def _below(folder: str) -> Iterator[str]:
    root, seen = Path(folder).resolve(), set()
    for here, folders, names in os.walk(folder, followlinks=True):
        below = Path(here).relative_to(folder)
        real = Path(here).resolve()
        if real in seen or (real.is_relative_to(root) and real != root / below):
            folders.clear()  # By a link; under its own name it is there anyway.
            continue
        seen.add(real)
        yield from ((below / name).as_posix() for name in names if Path(here, name).is_file())
        folders.sort()  # So that of several links to a folder it is always the same that counts.


def stamp(path: str) -> str:
    """Size, and another text whenever the file is another."""
    if is_remote(path):
        return _remote().stamp(path)
    s = Path(path).stat()
    return f"{s.st_size} {s.st_mtime_ns}"


def stamps(paths: Sequence[str]) -> dict[str, str]:
    """Of many files: a store is asked for several at a time."""
    return dict(zip(paths, several(stamp, paths), strict=True))


def size(path: str) -> int:
    """Bytes."""
    return int(stamp(path).partition(" ")[0])


def read(path: str, offset: int = 0, size: int | None = None) -> bytes:
    """Bytes of a file, all from `offset` on unless told otherwise; of a store in one request."""
    if is_remote(path):
        return _remote().read(path, offset, size)
    try:
        with Path(path).open("rb") as file:
            file.seek(offset)
            return file.read() if size is None else file.read(size)
    except OSError as error:
        raise AligngapError(f"{path} cannot be read: {error.strerror}") from error


def read_each(paths: Iterable[str]) -> Iterator[bytes]:
    """Whole files in order; of a store several at a time."""
    asked = iter(paths)
    while some := list(islice(asked, AHEAD)):
        yield from several(read, some)


def joined(folder: str, name: str) -> str:
    """A name from there, or one that is whole itself. From a store's folder no name leads out of
    its bucket, nor to this machine."""
    if is_remote(name):
        return name
    return _remote().joined(folder, name) if is_remote(folder) else str(Path(folder) / name)


def parent(path: str) -> str:
    """The folder that a file lies in."""
    return path.rpartition("/")[0] if is_remote(path) else str(Path(path).absolute().parent)


@contextlib.contextmanager
def local(path: str, folder: Path) -> Iterator[Path]:
    """The file on this machine: a remote one is fetched into `folder`, and removed at the end."""
    if not is_remote(path):
        yield Path(path)
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as below:
        fetched = Path(below) / path.rpartition("/")[2]
        _remote().fetch(path, fetched)
        try:
            yield fetched
        except AligngapError as error:
            error.args = tuple(str(words).replace(str(fetched), path) for words in error.args)
            raise


def several(function: Callable[[str], T], paths: Sequence[str]) -> Iterator[T]:
    """Of each in order; of remote ones several at a time."""
    if not any(map(is_remote, paths)):
        yield from map(function, paths)
        return
    with ThreadPoolExecutor(READERS) as pool:
        yield from pool.map(function, paths)


def _remote() -> "ModuleType":
    """Loaded where it is needed: its libraries take a while."""
    from aligngap.data import remote

    return remote
