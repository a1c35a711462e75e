"""The records of a prepared corpus, each read from its shard when it is asked for."""

import contextlib
import functools
import hashlib
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from aligngap import json_text
from aligngap.addresses import is_remote
from aligngap.data import store
from aligngap.data.records import Record
from aligngap.data.sources import columnar, formats, index, together
from aligngap.data.sources.kept import Kept
from aligngap.data.sources.raw import Place, Settings
from aligngap.data.sources.together import Together
from aligngap.errors import AligngapError, StoreError, UsageError
from aligngap.json_text import NUMBER

ABOUT = "corpus.json"
FORMAT = 1  # Of ABOUT.
FORM = {
    "asked": {
        "sources": {str: str},
        "splitting": dict.fromkeys(("validation_share", "test_share"), NUMBER | None),
    },
    "shards": [{"path": str, "stamp": str}],
    "converted": bool,
    "splits": {str: {"records": int, "captions": int}},
    "kinds": {str: [str]},
    "left_out": {str: int},
}


@dataclass(frozen=True)
class Indexed:
    """The records of a split, each read from its shard when it is asked for."""

    folder: Path
    split: str
    block_size: int = 0  # Records of far shards that are read together; 0: each alone.
    most: int = 0  # Such blocks, or row groups, that are held.

    @property
    def version(self) -> str:
        return version(self.folder, self.split)

    def __len__(self) -> int:
        found: int = about(self.folder)["splits"][self.split]["records"]
        return found

    @property
    def by_blocks(self) -> bool:
        """Whether neighbours are better read together: of row groups and of far shards."""
        far = any(is_remote(shard["path"]) for shard in about(self.folder)["shards"])
        return far or formats.of(_settings(self.folder)).by_parts

    def blocks(self, size: int) -> np.ndarray:
        """The first row of each, at most `size` neighbours of one shard, and the number of rows."""
        return blocks(self.folder, self.split, size)

    def in_blocks(self, size: int, most: int) -> "Indexed":
        """The same records, those of far shards read in such blocks; `most` of them, or of row
        groups, are held."""
        return replace(self, block_size=size, most=most)

    def __getitem__(self, row: int) -> Record:
        shard, place = self._find(row)
        raw = self._format(shard, row).read(shard, place)
        return _settings(self.folder).rules.record(raw)

    def captions(self, row: int) -> tuple[str, ...]:
        """The record's, without its image where that is a file of its own."""
        shard, place = self._find(row)
        found = self._format(shard, row).captions(shard, place)
        return _settings(self.folder).rules.captions(found)

    def _find(self, row: int) -> tuple[str, Place]:
        if not 0 <= row < len(self):
            raise IndexError(row)
        number, offset, size = index.opened(index.path(self.folder, self.split), len(self))[row]
        return _checked(self.folder, int(number)), Place(int(offset), int(size))

    def _format(self, shard: str, row: int) -> formats.Format:
        """That reads this row; in blocks, if those are held."""
        settings = _settings(self.folder)
        if self.most and settings.format == "parquet":
            return formats.of(settings, groups=_groups(self))
        if self.most and is_remote(shard):
            return formats.of(settings, partial(_together(self).read, row))
        return formats.of(settings)


def records(folder: Path, split: str, rows: range) -> Iterator[Record]:
    """Neighbouring rows of a split, shard by shard; the folder may lie where `store` reads."""
    width = index.RECORD.itemsize
    places = store.read(str(index.path(folder, split)), rows.start * width, len(rows) * width)
    settings = _settings(folder)
    entries = np.frombuffer(places, index.RECORD).tolist()
    for number, own in itertools.groupby(entries, lambda entry: entry[0]):
        with _at_hand(folder, number) as shard:
            for _, *place in own:
                raw = formats.of(settings).read(shard, Place(*place))
                yield settings.rules.record(raw)


@contextlib.contextmanager
def _at_hand(folder: Path, number: int) -> Iterator[str]:
    """A shard to read much of: on this machine, unless it is read by parts, or one file has all."""
    shard, settings = _shard(folder, number), _settings(folder)
    if settings.format == "lines" or formats.of(settings).by_parts:
        yield shard
        return
    with store.local(shard, Path(tempfile.gettempdir())) as path:
        yield str(path)


@functools.cache
def about(folder: Path) -> dict[str, Any]:
    """What ABOUT says; AligngapError where it cannot be read."""
    try:
        found: dict[str, Any] = json_text.value((folder / ABOUT).read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise UsageError(f"{folder} is of another version: delete it and prepare it again")
        json_text.expect(found, FORM)
        Settings.of_json(found["settings"])
        if any(split["records"] < 1 for split in found["splits"].values()):
            raise ValueError("a split has no records")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AligngapError(
            f"{folder / ABOUT} cannot be read ({type(error).__name__} {error}): delete {folder} "
            "and prepare it again"
        ) from error
    return found


@functools.cache
def digest(folder: Path) -> str:
    """Another text whenever ABOUT is another: the digests of the splits stand in it."""
    return hashlib.sha256((folder / ABOUT).read_bytes()).hexdigest()


@functools.cache
def _settings(folder: Path) -> Settings:
    return Settings.of_json(about(folder)["settings"])


def _shard(folder: Path, number: int) -> str:
    """A shard's path, once it is known to be what was indexed: a store is asked once a process."""
    shards = about(folder)["shards"]
    if number >= len(shards):
        raise AligngapError(
            f"{folder}: one of *.index is damaged (shard {number} of {len(shards)}): delete "
            "the folder and prepare it again"
        )
    shard = shards[number]
    if not shard["stamp"]:
        return str(folder / shard["path"])
    if store.stamp(shard["path"]) != shard["stamp"]:
        raise StoreError(
            f"{shard['path']} has changed since it was indexed: delete {folder} and prepare again"
        )
    found: str = shard["path"]
    return found


_checked = Kept(_shard, 2**16)


@functools.lru_cache(maxsize=8)
def _together(source: Indexed) -> Together:
    opened = index.opened(index.path(source.folder, source.split), len(source))
    return Together(opened, source.blocks(source.block_size), source.most)


@functools.lru_cache(maxsize=8)
def _groups(source: Indexed) -> Kept[Any]:
    return columnar.kept(source.most)


def blocks(folder: Path, split: str, size: int) -> np.ndarray:
    """Where the blocks of a split begin, in whatever form its records are now."""
    path = index.blocks_path(folder, split)
    if path.exists():  # Row groups, whatever their size.
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    records = about(folder)["splits"][split]["records"]
    return together.blocks(index.opened(index.path(folder, split), records), size)


def version(folder: Path, split: str) -> str:
    """Of a split of a prepared corpus."""
    return f"{folder.name} {split} {digest(folder)}"
