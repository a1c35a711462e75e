"""Embeddings that grow in a file: killed at any moment, they go on from what is known to be there.

The rows lie behind room for their header, so that a finished file only has to be renamed.
"""

import io
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import category

import numpy as np
from jaxtyping import Float

from aligngap import atomic
from aligngap.errors import AligngapError, UsageError
from aligngap.runs import workdir

ROOM = {"npy": 128, "safetensors": 256}  # Bytes of the header: more than any shape needs.
SAFETENSORS = {"float32": "F32", "float16": "F16"}
SECONDS_BETWEEN_SAVES = 5.0


class Layout(NamedTuple):
    """How rows are stored."""

    width: int
    dtype: str  # float32 | float16
    format: str  # npy | safetensors


class Counting:
    """What every process but the first has of growing rows: the same counts, and no file."""

    def __init__(self, path: Path, held: Mapping[str, Any]) -> None:
        self.path, self.done = path, bool(held["done"])
        self.items, self.skipped = int(held["items"]), dict[int, str](held["skipped"])

    @property
    def rows(self) -> int:
        """Rows that are there."""
        return self.items - len(self.skipped)

    def append(
        self, rows: Float[np.ndarray, "n D"], items: int, skipped: Mapping[int, str]
    ) -> None:
        """The rows of the next `items` inputs, without those that were skipped."""
        self.items += items
        self.skipped |= skipped

    def save(self) -> None: ...

    def finish(self, ids: Sequence[str], about: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


class Growing(Counting):
    """Rows `name` in a folder: `items` inputs are done, of which those in `skipped` left no row.

    `plan` says what the rows are made of; UsageError where the folder holds another plan's.
    """

    def __init__(self, folder: Path, name: str, plan: Mapping[str, str], layout: Layout) -> None:
        self._folder, self._name, self._layout = folder, name, layout
        self._plan = {**plan, "dtype": layout.dtype, "format": layout.format}
        nothing = {"done": False, "items": 0, "skipped": []}
        super().__init__(folder / f"{name}.{layout.format}", nothing)
        self._growing, self._state = folder / f".{name}.rows", folder / f".{name}.progress.json"
        self._record = folder / f"{name}.json"
        self.done = self._read(self._record)
        if not self.done:
            self._resume()

    def append(
        self, rows: Float[np.ndarray, "n D"], items: int, skipped: Mapping[int, str]
    ) -> None:
        self._file.write(rows.astype(self._stored).tobytes())
        super().append(rows, items, skipped)
        if time.monotonic() - self._saved >= SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        """Makes what is there certain: first the rows, then the file that counts them."""
        self._file.flush()
        os.fsync(self._file.fileno())
        atomic.write(self._state, json.dumps(self._saved_counts()) + "\n")
        self._saved = time.monotonic()

    def finish(self, ids: Sequence[str], about: Mapping[str, Any]) -> None:
        """Gives everything its final name; killed in between, it is done once more."""
        self.save()
        if self._growing.exists():
            self._file.seek(0)
            self._file.write(self._header())
            self.save()
        self.close()
        kept = [name for item, name in enumerate(ids) if item not in self.skipped]
        atomic.write(self._folder / f"{self._name}_ids.txt", "".join(map(_line, kept)))
        if self._growing.exists():
            self._growing.replace(self.path)
        named = [[ids[item], reason] for item, reason in self.skipped.items()]
        record = {**about, "rows": self.rows, **self._saved_counts(), "skipped_ids": named}
        atomic.write_json(self._record, record)
        self._state.unlink()

    def close(self) -> None:
        """Lets go of the file, with nothing lost that was saved."""
        if not self.done:
            self._file.close()

    @property
    def _stored(self) -> np.dtype:
        return np.dtype(self._layout.dtype).newbyteorder("<")

    def counts(self) -> dict[str, Any]:
        """What is there, for processes that count along."""
        skipped = [[item, reason] for item, reason in self.skipped.items()]
        return {"items": self.items, "skipped": skipped, "done": self.done}

    def _saved_counts(self) -> dict[str, Any]:
        counts = self.counts()
        return {"plan": self._plan, "items": counts["items"], "skipped": counts["skipped"]}

    def _read(self, path: Path) -> bool:
        """Takes over the counts of a file, if it is there and of this plan."""
        if not path.exists():
            return False
        found = workdir.read_json(path)
        try:
            plan, items, skipped = found["plan"], int(found["items"]), dict(found["skipped"])
        except (KeyError, TypeError, ValueError) as error:
            raise AligngapError(f"{path} is damaged: delete {self._folder}") from error
        for key, value in self._plan.items():
            if plan.get(key) != value:
                raise UsageError(
                    f"{self._folder} holds {self._name} embeddings of another {key}; "
                    "give another --output, or delete it"
                )
        self.items, self.skipped = items, skipped
        return True

    def _resume(self) -> None:
        """Opens the growing file behind its last certain row."""
        resumed = self._read(self._state)
        if self.path.exists() and not resumed:
            raise UsageError(f"{self.path} is in the way and no work of this command")
        row = self._layout.width * self._stored.itemsize
        end = ROOM[self._layout.format] + self.rows * row
        renamed = resumed and self.path.exists()  # Killed between the last two steps of `finish`.
        target = self.path if renamed else self._growing
        if resumed and (not target.exists() or target.stat().st_size < end):
            raise AligngapError(f"{target} is shorter than it was: delete {self._folder}")
        self._file = target.open("r+b" if resumed else "w+b")
        self._file.truncate(end)
        self._file.seek(end)
        self._saved = float("-inf")  # The first rows are saved at once.

    def _header(self) -> bytes:
        """What stands before the rows in a file of the format, exactly as long as its room."""
        shape, room = (self.rows, self._layout.width), ROOM[self._layout.format]
        if self._layout.format == "npy":
            header = io.BytesIO()
            about = {"descr": self._stored.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(header, about)
            return header.getvalue()
        end = shape[0] * shape[1] * self._stored.itemsize
        dtype = SAFETENSORS[self._layout.dtype]
        tensor = {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}
        text = json.dumps({self._name: tensor}).encode().ljust(room - 8)
        return len(text).to_bytes(8, "little") + text


def _line(name: str) -> str:
    """An id on a line of its own, whatever is in it."""
    shown = name.encode(errors="backslashreplace").decode()
    breaks = ("Cc", "Zl", "Zp")
    return "".join(repr(c)[1:-1] if category(c) in breaks else c for c in shown) + "\n"
