"""A corpus that `aligngap prepare --source` made: an index of records that stay where they are."""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aligngap.data import sources, store
from aligngap.data.corpus import Corpus, Split
from aligngap.data.records import Record
from aligngap.data.sources import index
from aligngap.data.sources.raw import Place, Settings
from aligngap.errors import AligngapError, UsageError

ABOUT = "corpus.json"
TITLES = {"test": "Held-out images"}


class Prepared(Corpus):
    """DATA_DIR/NAME, as corpus.json in it says."""

    def __init__(self, data_dir: Path, name: str) -> None:
        super().__init__(data_dir)
        self._name = name
        about = _about(data_dir / name)
        self.splits = tuple(Split(role, role, TITLES.get(role, "")) for role in about["splits"])
        self.kinds = tuple(about["kinds"])

    @property
    def name(self) -> str:
        return self._name

    def open(self, split: str) -> "PreparedSource":
        return PreparedSource(self.data_dir / self._name, self.split(split).name)

    def prepare(self) -> None:
        """It is there."""

    def classes(self, kind: str) -> Mapping[str, Sequence[str]]:
        """A class's name is its text, "-" and "_" as spaces."""
        if kind not in self.kinds:
            return super().classes(kind)
        names = _about(self.data_dir / self._name)["kinds"][kind]
        return {name: [name.replace("_", " ").replace("-", " ")] for name in names}


def exists(data_dir: Path, name: str) -> bool:
    """Whether a folder holds a prepared corpus of that name."""
    return bool(name) and (data_dir / name / ABOUT).is_file()


@dataclass(frozen=True)
class PreparedSource:
    """The records of a split, each read from its shard when it is asked for."""

    folder: Path
    split: str

    @property
    def version(self) -> str:
        return f"{self.folder.name} {self.split} {_digest(self.folder)}"

    def __len__(self) -> int:
        found: int = _about(self.folder)["splits"][self.split]["records"]
        return found

    def __getitem__(self, row: int) -> Record:
        if not 0 <= row < len(self):
            raise IndexError(row)
        number, offset, size = index.opened(index.path(self.folder, self.split), len(self))[row]
        settings = _settings(self.folder)
        shard, place = _shard(self.folder, int(number)), Place(int(offset), int(size))
        raw = sources.of(settings).read(shard, place)
        return settings.rules.record(raw)


@functools.cache
def _about(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        if found["format"] != 1:
            raise UsageError(f"{folder} is of another version: delete it and prepare it again")
    except (OSError, ValueError, KeyError) as error:
        raise AligngapError(f"{folder / ABOUT} cannot be read: {error}") from error
    return found


@functools.cache
def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / ABOUT).read_bytes()).hexdigest()


@functools.cache
def _settings(folder: Path) -> Settings:
    return Settings.of_json(_about(folder)["settings"])


@functools.lru_cache(maxsize=2**16)
def _shard(folder: Path, number: int) -> str:
    """A shard's path, once it is known to be what was indexed."""
    shard = _about(folder)["shards"][number]
    if not shard["stamp"]:
        return str(folder / shard["path"])
    if store.stamp(shard["path"]) != shard["stamp"]:
        raise AligngapError(
            f"{shard['path']} has changed since it was indexed: delete {folder} and prepare again"
        )
    found: str = shard["path"]
    return found
