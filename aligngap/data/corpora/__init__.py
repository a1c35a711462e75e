"""The corpora by name: preparing one, opening a split of it, and the licences of its parts.

Builders are imported when first needed, since TFDS and the sentence encoder take seconds to load
and the rendering processes import this package too.
"""

import contextlib
import fcntl
import importlib
import io
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from aligngap import progress
from aligngap.data import fetch
from aligngap.data.corpora import pictogram_splits
from aligngap.errors import AligngapError, UsageError

FORMAT = "array_record"  # random access, and no TensorFlow


@dataclass(frozen=True)
class Corpus:
    """Where a corpus's TFDS builder is, and the names of its splits."""

    module: str
    builder: str
    splits: tuple[str, ...]


@dataclass(frozen=True)
class Licence:
    """One source of a corpus: the package it comes in, and what the corpus takes from it."""

    source: str
    version: str
    licence: str
    package: str
    provides: str


CORPORA = {
    "pictograms": Corpus(
        module="aligngap.data.corpora.pictograms",
        builder="Pictograms",
        splits=pictogram_splits.SPLITS,
    )
}


def prepare(corpus: str, data_dir: Path) -> None:
    """Builds the corpus under `data_dir`, unless it is there complete.

    Raises UsageError for an unknown corpus, AligngapError where a source cannot be fetched, the
    folder cannot be written, or a damaged corpus is in the way (it is not overwritten).
    """
    entry = _entry(corpus)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with _alone(data_dir / ".prepare.lock"):
            _prepare(corpus, entry, data_dir)
    except OSError as error:
        raise AligngapError(f"cannot prepare {corpus} in {data_dir}: {error}") from error


def open_split(corpus: str, data_dir: Path, split: str) -> Sequence[dict[str, Any]]:
    """A picklable random-access source of one split's records; text comes as UTF-8 bytes.

    Raises UsageError for an unknown name, AligngapError for a missing or damaged corpus.
    """
    entry = _entry(corpus)
    if split not in entry.splits:
        raise UsageError(f"unknown split {split!r} of {corpus}: one of {', '.join(entry.splits)}")
    folder = _folder(corpus, entry, data_dir)
    if not folder.exists():
        begun = any(folder.parent.glob("incomplete.*"))
        state = "is only half built" if begun else "is missing"
        raise AligngapError(f"{corpus} {state} in {data_dir}: run {_command(corpus, data_dir)}")
    builder = _checked_builder(corpus, entry, data_dir, (split,))
    source: Sequence[dict[str, Any]] = builder.as_data_source(split=split)
    return source


def licences(corpus: str) -> list[Licence]:
    """What the corpus is made of, one entry a source package."""
    found: list[Licence] = _module(_entry(corpus)).licences()
    return found


def downloads(data_dir: Path) -> Path:
    """Where the archives that corpora and models are made of are kept."""
    return data_dir / "downloads" / "aligngap"


def _prepare(corpus: str, entry: Corpus, data_dir: Path) -> None:
    folder = _folder(corpus, entry, data_dir)
    if folder.exists():
        _checked_builder(corpus, entry, data_dir, entry.splits)
        progress.say(f"{corpus} is already in {folder}")
        return
    for leftover in folder.parent.glob("incomplete.*"):  # TFDS's name for what it has not finished
        progress.say(f"Removing {leftover}, left by a run that was stopped")
        shutil.rmtree(leftover)
    fetch.sweep(downloads(data_dir))
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()  # the builder shows its own
    with contextlib.redirect_stdout(io.StringIO()):  # where TFDS narrates
        _builder(entry, data_dir).download_and_prepare()
    progress.say(f"{corpus} is now in {folder}")


def _checked_builder(corpus: str, entry: Corpus, data_dir: Path, splits: Sequence[str]) -> Any:
    """The builder of a prepared corpus, once the shards of these splits are known to be whole."""
    try:
        builder = _builder(entry, data_dir)
        for split in splits:
            _check_shards(builder.info.splits[split])
    except Exception as error:  # a broken JSON, proto or shard: readers have no common error
        folder = _folder(corpus, entry, data_dir)
        reason = " ".join(str(error).split())
        raise AligngapError(
            f"{folder} is damaged ({reason}): delete it and run {_command(corpus, data_dir)}"
        ) from error
    return builder


def _check_shards(split: Any) -> None:
    """Raises for a shard that is missing, cut off or of another length than the builder noted."""
    from array_record.python.array_record_module import ArrayRecordReader

    for path, records in zip(split.filepaths, split.shard_lengths, strict=True):
        if not path.exists():
            raise AligngapError(f"{path.name} is missing")
        try:
            with contextlib.closing(ArrayRecordReader(str(path))) as reader:
                found = reader.num_records()
        except (RuntimeError, ValueError) as error:
            raise AligngapError(f"{path.name} cannot be read") from error
        if found != records:
            raise AligngapError(f"{path.name} holds {found} records instead of {records}")


def _entry(corpus: str) -> Corpus:
    if corpus not in CORPORA:
        raise UsageError(f"unknown corpus {corpus!r}: one of {', '.join(CORPORA)}")
    return CORPORA[corpus]


def _module(entry: Corpus) -> ModuleType:
    return importlib.import_module(entry.module)


def _builder(entry: Corpus, data_dir: Path) -> Any:
    return getattr(_module(entry), entry.builder)(data_dir=str(data_dir), file_format=FORMAT)


def _folder(corpus: str, entry: Corpus, data_dir: Path) -> Path:
    """The final name of the prepared corpus; TFDS builds beside it and renames at the end."""
    return data_dir / corpus / str(getattr(_module(entry), entry.builder).VERSION)


def _command(corpus: str, data_dir: Path) -> str:
    return f"`aligngap prepare --corpus={corpus} --data_dir={data_dir}`"


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time prepares here, so that what others left unfinished is no one's."""
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say(f"Waiting for another process that holds {lock}")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
