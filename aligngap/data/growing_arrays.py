""".npy files that grow together: killed at any moment, they go on from what is known to be there.

Rows lie behind room for the header, so that a finished file only has to be renamed.
"""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike

from aligngap import atomic, json_text
from aligngap.errors import AligngapError

ROOM = 128  # Bytes of a header: more than any shape needs.
Layout = tuple[tuple[int, ...], DTypeLike]  # Shape of a row, and its dtype.


class GrowingArrays:
    """A context manager, for one process at a time. `about` is the JSON that is there once all
    arrays are: `plan`, which says what they are made of, and how many rows each has. Files of
    another plan are begun anew.

    AligngapError where something cannot be written, or is shorter than it was.
    """

    def __init__(
        self, about: Path, plan: Mapping[str, str], layouts: Mapping[Path, Layout]
    ) -> None:
        self._about, self._plan, self._layouts = about, dict(plan), dict(layouts)
        self._state = about.with_name(f".{about.name}.progress")
        self._open: dict[Path, IO[bytes]] = {}
        self.done = self._read(about) is not None
        self._rows = self._read(self._state) or {path.name: 0 for path in layouts}

    def __enter__(self) -> "GrowingArrays":
        atomic.sweep(self._about)
        atomic.sweep(self._state)
        if not self.done:
            fresh = self._read(self._state) is None
            self._open = {path: self._resumed(path, fresh) for path in self._layouts}
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            file.close()

    def rows(self, path: Path) -> int:
        """Rows that an array has."""
        return self._rows[path.name]

    def append(self, more: Mapping[Path, np.ndarray]) -> None:
        """Adds rows to some of the arrays: all of these or, after a kill, none."""
        try:
            for path, rows in more.items():
                self._open[path].write(rows.astype(_dtype(self._layouts[path])).tobytes())
                _flush(self._open[path])
        except OSError as error:
            raise AligngapError(f"{self._about.parent} cannot be written: {error}") from error
        added = {path.name: self._rows[path.name] + len(rows) for path, rows in more.items()}
        self._rows |= added
        atomic.write_json(self._state, {**self._plan, "rows": self._rows})

    def finish(self, noted: Mapping[str, Any]) -> None:
        """Gives everything its final name; killed in between, it is done once more. `noted` is
        said in `about` too, but does not make another plan."""
        for path, file in self._open.items():
            file.seek(0)
            file.write(self._header(path))
            _flush(file)
        self._about.unlink(missing_ok=True)  # That of another plan, whose arrays go now.
        for path in self._layouts:
            if _growing(path).exists():
                _growing(path).replace(path)
        atomic.write_json(self._about, {**noted, **self._plan, "rows": self._rows})
        self._state.unlink()

    def _read(self, path: Path) -> dict[str, int] | None:
        """The rows that a file counts, if it is there and of this plan."""
        try:
            found = json_text.value(path.read_text())
            same = all(found.get(key) == value for key, value in self._plan.items())
            return {p.name: int(found["rows"][p.name]) for p in self._layouts} if same else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise AligngapError(f"{path} is damaged: delete it") from error

    def _resumed(self, path: Path, fresh: bool) -> IO[bytes]:
        """The file open behind its last certain row."""
        end = ROOM + self._rows[path.name] * _row_bytes(self._layouts[path])
        target = _growing(path)
        if not fresh and not target.exists():
            target = path  # Killed while names became final.
        try:
            file = target.open("w+b" if fresh else "r+b")
            if not fresh and target.stat().st_size < end:
                raise AligngapError(f"{target} is shorter than it was: delete {self._state}")
            file.truncate(end)
            file.seek(end)
        except OSError as error:
            raise AligngapError(f"{target} cannot be opened: {error.strerror}") from error
        return file

    def _header(self, path: Path) -> bytes:
        """Exactly as long as its room."""
        shape = (self._rows[path.name], *self._layouts[path][0])
        about = {
            "descr": _dtype(self._layouts[path]).str,
            "fortran_order": False,
            "shape": shape,
        }
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, about)
        made = header.getvalue()
        assert len(made) == ROOM, len(made)
        return made


def _growing(path: Path) -> Path:
    return path.with_name(f".{path.name}.growing")


def _dtype(layout: Layout) -> np.dtype[Any]:
    return np.dtype(layout[1]).newbyteorder("<")


def _row_bytes(layout: Layout) -> int:
    return int(np.prod(layout[0], dtype=np.int64)) * _dtype(layout).itemsize


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
