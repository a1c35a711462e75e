"""Files and folders that are written whole or not at all."""

import contextlib
import glob
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from aligngap.errors import AligngapError, UsageError

UNFINISHED = ".part"


def write(path: Path, content: str | bytes) -> None:
    """All of the content or none of it: a reader never opens half a file. Text is UTF-8.

    Raises AligngapError for an unwritable `path`.
    """
    # A file's name may hold bytes that are no UTF-8: a page shows "?" for them.
    encoded = content.encode(errors="replace") if isinstance(content, str) else content
    with file(path) as filling:
        filling.write(encoded)


@contextlib.contextmanager
def file(path: Path) -> Iterator[IO[bytes]]:
    """A file to fill, which has its final name once the block has ended without an error.

    AligngapError where it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(UNFINISHED, f".{path.name}.", path.parent)
        try:
            with os.fdopen(handle, "wb") as filling:
                yield filling
            Path(name).chmod(0o644)  # mkstemp lets nobody else read
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise AligngapError(f"{path} cannot be written: {error.strerror or error}") from None


def sweep(path: Path) -> None:
    """Removes what writes of `path` have left that were killed: for who alone may write it now."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{UNFINISHED}"):
        left.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """`write` of what JSON can hold, indented for people."""
    write(path, as_json(content))


def as_json(content: Any) -> str:
    """The text that `write_json` writes: nan, which JSON has not, is null."""
    return json.dumps(_without_nan(content), indent=2) + "\n"


def _without_nan(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _without_nan(x) for name, x in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(x) for x in content]
    return None if isinstance(content, float) and math.isnan(content) else content


@contextlib.contextmanager
def folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which has its final name once the block has ended without an error.

    UsageError where there is something already, AligngapError where it cannot be written.
    """
    empty(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        filling = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise AligngapError(f"{path} cannot be written: {error.strerror or error}") from None
    try:
        filling.chmod(0o755)  # mkdtemp lets nobody else in
        yield filling
        filling.replace(path)
    except OSError as error:
        raise AligngapError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        _remove(filling)


def _remove(folder: Path) -> None:
    """Also what a save that failed still writes in the background, for two seconds."""
    for _ in range(40):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)


def empty(path: Path) -> None:
    """UsageError unless nothing is there, or a folder with nothing in it; AligngapError where none
    can be made."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} is there already and not empty; give another folder")
    _expect_room(path)


def expect_writable(path: Path) -> None:
    """Before long work whose result is this file: AligngapError where it cannot be written. Makes
    nothing, so that a run that is refused later leaves nothing."""
    if path.is_dir():
        raise AligngapError(f"{path} cannot be written: it is a folder; give a file's name")
    _expect_room(path)


def _expect_room(path: Path) -> None:
    try:
        there = next(folder for folder in path.absolute().parents if folder.exists())
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise AligngapError(f"{path} cannot be written: {error.strerror or error}") from None
