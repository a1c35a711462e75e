"""What captions mean, beside a corpus: an embedding of each caption of a split, memory-mapped.

SPLIT.semantics.npy       float16 [captions of the split in order, S]
SPLIT.first_caption.npy   uint64 [records + 1]: where each record's captions begin
SPLIT.semantics.json      which encoder made them, of which version of the records

The last is written last. This room stays light: worker processes import it.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Float32

from aligngap import json_text, lock, progress
from aligngap.data import records
from aligngap.data.corpus import Corpus
from aligngap.data.growing_arrays import GrowingArrays
from aligngap.data.mapped import at_random
from aligngap.data.records import Record, Source
from aligngap.errors import AligngapError, UsageError
from aligngap.unit import unit_rows_numpy

RECORDS_AT_A_TIME = 32_768
READERS = 16  # Threads, for records that lie far away.


class Encoder(Protocol):
    """What `write` needs of a sentence encoder, such as `sentences.SentenceEncoder`."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def width(self) -> int: ...
    def embed(self, texts: Sequence[str]) -> Float[np.ndarray, "N S"]: ...


@dataclass(frozen=True)
class Semantics:
    """Row → float32 [K, S], L2-normalised, of the record's K captions. Picklable: files are opened
    again where it arrives."""

    folder: Path
    split: str

    def __len__(self) -> int:
        return len(self._first) - 1

    def __getitem__(self, row: int) -> Float32[np.ndarray, "K S"]:
        first, last = self._first[row : row + 2]
        # Once more, since rounding to float16 moved the lengths.
        return unit_rows_numpy(np.asarray(self._rows[int(first) : int(last)], np.float32))

    @cached_property
    def about(self) -> dict[str, Any]:
        """What SPLIT.semantics.json says."""
        path = _about(self.folder, self.split)
        try:
            found = json_text.value(path.read_text())
            return {**found, "digest": str(found["digest"]), "source": str(found["source"])}
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise AligngapError(f"{path} cannot be read ({error}): delete it") from error

    @cached_property
    def _rows(self) -> Float[np.ndarray, "N S"]:
        return at_random(_mapped(_rows(self.folder, self.split)))

    @cached_property
    def _first(self) -> np.ndarray:
        return at_random(_mapped(_firsts(self.folder, self.split)))

    def __reduce__(self) -> Any:
        return Semantics, (self.folder, self.split)


@dataclass(frozen=True)
class WithSemantics(records.Over):
    """The records of a source, each with the semantics of its captions."""

    semantics: Semantics

    @property
    def version(self) -> str:
        return f"{self.source.version} {self.semantics.about['digest']}"

    def __getitem__(self, row: int) -> Record:
        return dataclasses.replace(self.source[row], semantics=self.semantics[row])

    def captions(self, row: int) -> tuple[str, ...]:
        return records.captions_of(self.source, row)


@dataclass(frozen=True)
class OwnSemantics:
    """Row → float32 [S], L2-normalised, of a user's .npy; picklable, and never in memory whole."""

    path: Path

    def __getitem__(self, row: int) -> Float32[np.ndarray, "S"]:
        return unit_rows_numpy(np.asarray(self.rows[row], np.float32), smallest=0.0)

    @cached_property
    def rows(self) -> Float[np.ndarray, "N S"]:
        """As the file has them."""
        return at_random(_mapped(self.path))

    def __reduce__(self) -> Any:
        return OwnSemantics, (self.path,)


def own(path: Path, total: int, split: str) -> OwnSemantics:
    """A user's array for a split of `total` records; UsageError for one that does not fit them."""
    try:
        array = _mapped(path)
    except AligngapError as error:
        reason = error.__cause__
        raise UsageError(f"data.semantics={path}: not a readable .npy array ({reason})") from error
    if array.ndim != 2 or len(array) != total:
        raise UsageError(
            f"data.semantics={path} has shape {array.shape}; expected [{total}, S], a row "
            f"for each record of split {split}"
        )
    for start in range(0, total, RECORDS_AT_A_TIME):
        part = np.asarray(array[start : start + RECORDS_AT_A_TIME], np.float32)
        norms = np.linalg.norm(part, axis=1)
        if (bad := np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))).size:
            raise UsageError(f"data.semantics={path}: row {start + bad[0]} is zero or not finite")
    return OwnSemantics(path)


def attach(source: Source, folder: Path, split: str) -> Source:
    """The source with what `write` left of its split in `folder`; itself, where there is nothing.

    AligngapError where that is of other records than the source's.
    """
    if not _about(folder, split).exists():
        return source
    held = Semantics(folder, split)
    if held.about["source"] != source.version or len(held) != len(source):
        raise AligngapError(
            f"{_about(folder, split)} is of other records than {split} has now: run `aligngap "
            f"prepare` with --semantics={held.about.get('model')} again, or delete it"
        )
    return WithSemantics(source, held)


def prepare(corpus: Corpus, model: str) -> None:
    """`write` for each split to train on, with the encoder of that name or folder.

    UsageError for a corpus that says itself what its records mean.
    """
    from aligngap.data import sentences  # Brings flax, which readers do without.

    opened = {split: corpus.open(split) for split in corpus.named("train")}
    if any(_says_itself(source) for source in opened.values()):
        raise UsageError(f"{corpus.name} says itself what its records mean: leave out --semantics")
    encoder = sentences.load(model, corpus.data_dir)
    for split, source in opened.items():
        write(source, corpus.folder, split, encoder)


def _says_itself(source: Source) -> bool:
    first = next(records.readable(source, range(len(source))), None)
    return first is not None and first[1].semantics is not None


def write(
    source: Source, folder: Path, split: str, encoder: Encoder, at_a_time: int = RECORDS_AT_A_TIME
) -> None:
    """Embeds each caption of a split into `folder`, `at_a_time` records in memory.

    Killed at any moment, the same call goes on from the last of these parts, to the same bytes.
    """
    plan = {"digest": encoder.digest, "source": source.version}
    rows, firsts, total = _rows(folder, split), _firsts(folder, split), len(source)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        lock.alone(folder / ".semantics.lock"),
        GrowingArrays(
            _about(folder, split),
            plan,
            {rows: ((encoder.width,), np.float16), firsts: ((), np.uint64)},
        ) as growing,
    ):
        if growing.done:
            progress.say(f"{rows} is already there")
            return
        if not growing.rows(firsts):
            growing.append({firsts: np.zeros(1, np.uint64)})
        done = growing.rows(firsts) - 1
        with progress.Bar(f"Semantics of {split}", total, "records", done) as bar:
            for captions in _parts(source, done, at_a_time):
                counts = np.array([len(texts) for texts in captions], np.uint64)
                ends = np.uint64(growing.rows(rows)) + np.cumsum(counts, dtype=np.uint64)
                embedded = encoder.embed([text for texts in captions for text in texts])
                growing.append({rows: embedded, firsts: ends})
                bar.advance(len(captions))
        growing.finish({"model": encoder.name})


def _parts(source: Source, first: int, size: int) -> Iterator[list[tuple[str, ...]]]:
    """The captions of so many records at a time, the next read while these are embedded."""
    pool = ThreadPoolExecutor(READERS)
    read = partial(records.captions_of, records.in_order(source))
    total = len(source)
    asked = (
        pool.map(read, range(start, min(start + size, total)))
        for start in range(first, total, size)
    )
    try:
        now = next(asked, None)
        while now is not None:
            coming = next(asked, None)
            yield list(now)
            now = coming
    finally:
        pool.shutdown(cancel_futures=True)


def _mapped(path: Path) -> np.ndarray:
    try:
        found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise AligngapError(f"{path} cannot be read ({error}): delete it and its .json") from error
    return found


def _rows(folder: Path, split: str) -> Path:
    return folder / f"{split}.semantics.npy"


def _firsts(folder: Path, split: str) -> Path:
    return folder / f"{split}.first_caption.npy"


def _about(folder: Path, split: str) -> Path:
    return folder / f"{split}.semantics.json"
