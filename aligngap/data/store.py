"""Files that a user names."""

import contextlib
import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aligngap.errors import AligngapError


def paths(given: str) -> list[str]:
    found = [given] if Path(given).exists() else sorted(glob.glob(given, recursive=True))  # noqa: PTH207
    if not found:
        raise AligngapError(f"{given}: no such file or folder, and it matches nothing")
    return found


def listing(folder: str) -> list[str]:
    return sorted(str(p) for p in Path(folder).rglob("*") if p.is_file())


def stamp(path: str) -> str:
    s = Path(path).stat()
    return f"{s.st_size} {s.st_mtime_ns}"


def read(path: str, offset: int = 0, size: int | None = None) -> bytes:
    try:
        with Path(path).open("rb") as file:
            file.seek(offset)
            return file.read() if size is None else file.read(size)
    except OSError as error:
        raise AligngapError(f"{path} cannot be read: {error.strerror}") from error


def opened(path: str) -> Any:
    return path


def joined(folder: str, name: str) -> str:
    return str(Path(folder) / name)


@contextlib.contextmanager
def local(path: str) -> Iterator[Path]:
    yield Path(path)
