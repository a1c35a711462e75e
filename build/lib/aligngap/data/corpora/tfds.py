"""A corpus that a TFDS builder writes as array_record files: prepared once, read at random.

Builders are imported when first needed, since TFDS and the sentence encoder take seconds to load
and the builders' own processes import this package too.
"""

import abc
import contextlib
import importlib
import io
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from aligngap import lock, progress
from aligngap.data import fetch
from aligngap.data.corpus import Corpus
from aligngap.data.records import Record
from aligngap.errors import AligngapError

FORMAT = "array_record"  # random access, and no TensorFlow


class TfdsCorpus(Corpus):
    """A corpus whose builder is `builder` ("package.module.Class", with `licences` beside it)."""

    builder: ClassVar[str]

    @staticmethod
    @abc.abstractmethod
    def record(raw: Mapping[str, Any]) -> Record:
        """What the builder wrote of an example → a record; text comes as UTF-8 bytes."""

    def open(self, split: str) -> "TfdsSource":
        self.split(split)
        folder = self._folder()
        if not folder.exists():
            unfinished = any(folder.parent.glob("incomplete.*"))
            state = "is only half built" if unfinished else "is missing"
            raise AligngapError(f"{self.name} {state} in {self.data_dir}: run {self._command()}")
        builder = self._checked_builder((split,))
        raw = builder.as_data_source(split=split)
        info = builder.info
        version = f"{info.full_name} {info.splits[split].num_bytes}"
        return TfdsSource(raw, type(self).record, version)

    def prepare(self) -> None:
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            with lock.alone(self.data_dir / ".prepare.lock"):
                self._prepare()
        except OSError as error:
            raise AligngapError(
                f"cannot prepare {self.name} in {self.data_dir}: {error}"
            ) from error

    def licences(self) -> Sequence[Any]:
        found: Sequence[Any] = self._module().licences()
        return found

    def _prepare(self) -> None:
        folder = self._folder()
        if folder.exists():
            self._checked_builder([split.name for split in self.splits])
            progress.say(f"{self.name} is already in {folder}")
            return
        for leftover in folder.parent.glob("incomplete.*"):  # TFDS's name for what is unfinished
            progress.say(f"Removing {leftover}, left by a run that was stopped")
            shutil.rmtree(leftover)
        fetch.sweep(fetch.downloads(self.data_dir))
        import tensorflow_datasets as tfds

        tfds.disable_progress_bar()  # the builder shows its own
        with contextlib.redirect_stdout(io.StringIO()):  # where TFDS narrates
            self._builder().download_and_prepare()
        progress.say(f"{self.name} is now in {folder}")

    def _checked_builder(self, splits: Sequence[str]) -> Any:
        """The builder of a prepared corpus, once these splits' shards are known to be whole."""
        with reading(self._folder(), f"run {self._command()}"):
            builder = self._builder()
            for split in splits:
                check_shards(builder.info.splits[split])
        return builder

    def _module(self) -> ModuleType:
        return importlib.import_module(self.builder.rpartition(".")[0])

    def _class(self) -> Any:
        return getattr(self._module(), self.builder.rpartition(".")[2])

    def _builder(self) -> Any:
        return self._class()(data_dir=str(self.data_dir), file_format=FORMAT)

    def _folder(self) -> Path:
        """The final name of the prepared corpus; TFDS builds beside it and renames at the end."""
        return self.data_dir / self.name / str(self._class().VERSION)

    def _command(self) -> str:
        return f"`aligngap prepare --corpus={self.name} --data_dir={self.data_dir}`"


@dataclass(frozen=True)
class TfdsSource:
    """The records of a split that TFDS wrote."""

    raw: Any  # TFDS's own random-access source.
    record: Any  # One of its examples → Record.
    version: str
    blocks: Any = None  # As records.Source has it, of what it was made of.

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, row: int) -> Record:
        found: Record = self.record(self.raw[row])
        return found


def opened(folder: Path, split: str, record: Any, version: str, blocks: Any = None) -> TfdsSource:
    """A split of what TFDS's files in `folder` hold; AligngapError where they are damaged."""
    import tensorflow_datasets as tfds

    with reading(folder, "prepare it again"):
        builder = tfds.builder_from_directory(folder)
        check_shards(builder.info.splits[split])
        return TfdsSource(builder.as_data_source(split=split), record, version, blocks)


@contextlib.contextmanager
def reading(folder: Path, remedy: str) -> Iterator[None]:
    """Whatever fails inside is damage to the files in `folder`: AligngapError, with the remedy."""
    try:
        yield
    except Exception as error:  # A broken JSON, proto or shard: readers have no common error.
        reason = " ".join(str(error).split())
        raise AligngapError(f"{folder} is damaged ({reason}): delete it and {remedy}") from error


def check_shards(split: Any) -> None:
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
