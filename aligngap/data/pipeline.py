"""Records → batches, as a pure function of (seed, step), and each process's rows of them."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grain
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from aligngap import progress
from aligngap.data import corpora
from aligngap.data.example import Example, Part
from aligngap.data.records import Batch, Source
from aligngap.data.stream import Place
from aligngap.data.tokenizers.tokenizer import Tokenizer
from aligngap.errors import AligngapError, UsageError


@dataclass(frozen=True)
class Rows(Sequence[Place]):
    """What Grain shuffles: the places of a split's records."""

    length: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, row: Any) -> Any:
        return Place(0, int(row))


@dataclass(frozen=True)
class Chosen(Sequence[Batch]):
    """Some rows of each batch of an endless stream, one after the other."""

    stream: Any
    first: int
    batch_size: int
    rows: list[int]

    def __len__(self) -> int:
        return sys.maxsize // self.batch_size * len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        batch, place = divmod(int(index), len(self.rows))
        return self.stream[(self.first + batch) * self.batch_size + self.rows[place]]

    def __repr__(self) -> str:
        return f"Chosen({len(self.rows)} of {self.batch_size})"


class Batches(Iterator[Batch]):
    """Endless batches. `replaced`: how many rows of the last one, of those that this process reads,
    stand in for a record that cannot be read or decoded. The first is told of, with the reason."""

    def __init__(self, stream: Iterator[Batch], why: Callable[[int, int], str]) -> None:
        self._stream, self._why = stream, why
        self._given, self._told, self.replaced = 0, False, 0

    def __next__(self) -> Batch:
        batch = next(self._stream)
        rows = np.flatnonzero(batch.pop("replaced"))
        if len(rows) and not self._told:
            reason = self._why(self._given, int(rows[0]))
            progress.say(f"WARNING: {reason}; the next record that can be used takes its place")
            self._told = True
        self.replaced = len(rows)
        self._given += 1
        return batch


def batches(
    config: ConfigDict,
    source: Source,
    tokenizer: Tokenizer,
    *,
    first: int = 0,
    rows: Sequence[int] | None = None,
) -> Batches:
    """Endless batches from number `first` on: these rows of each global batch (default: all).

    Row i of the endless stream depends on (seed, i) alone, and batch k is rows k·B to (k+1)·B. So
    neither workers nor processes nor a restart change what is seen.
    """
    split = corpora.train_split(config)
    if len(source) < 1:
        raise AligngapError(f"split {split} of {config.data.corpus} is empty")
    example = Example(config, tokenizer, [Part(source, split, own_semantics(config, len(source)))])
    places = grain.MapDataset.source(Rows(len(source))).seed(config.seed).shuffle().repeat()
    own = list(range(config.batch_size)) if rows is None else list(rows)
    chosen = Chosen(places.random_map(example), first, config.batch_size, own)
    stream = (
        grain.MapDataset.source(chosen)
        .batch(len(own))
        .to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=8))
    )
    if config.data.workers:
        flags.FLAGS.mark_as_parsed()  # Grain reads its own flags, which no absl main has parsed.
        stream = stream.mp_prefetch(
            grain.multiprocessing.MultiprocessingOptions(config.data.workers)
        )

    def why(batch: int, row: int) -> str:
        return example.why(places[(first + batch) * config.batch_size + own[row]])

    return Batches(_told(stream), why)


def check(config: ConfigDict, source: Source) -> None:
    """UsageError, before a run begins, for semantics that are bad or that the objective lacks."""
    objective = config.objective
    rescales = objective.separated and objective.semantic_rescaling
    own = own_semantics(config, len(source))
    lacks = own is None and len(source) and source[0].semantics is None
    if objective.separation_weight and rescales and lacks:
        raise UsageError(
            f"objective.separation_weight re-scales by semantics, which {config.data.corpus} does "
            "not have: give data.semantics=FILE.npy, or objective.semantic_rescaling=False"
        )


def _told(stream: Any) -> Iterator[Batch]:
    """The stream, with the death of a worker process in one line."""
    try:
        yield from stream
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise AligngapError(
            f"the data pipeline failed: {reason} (the same command goes on from the last save)"
        ) from error


def own_semantics(config: ConfigDict, records: int) -> np.ndarray | None:
    """The user's own embeddings of the training records, L2-normalised; None: the corpus's."""
    if not config.data.semantics:
        return None
    path = Path(config.data.semantics).expanduser()
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"data.semantics={path}: not a readable .npy array ({error})") from error
    if array.ndim != 2 or len(array) != records:
        raise UsageError(
            f"data.semantics={path} has shape {array.shape}; expected [{records}, S], a row "
            f"for each record of split {corpora.train_split(config)}"
        )
    norms = np.linalg.norm(np.asarray(array, np.float32), axis=1, keepdims=True)
    if not np.all(np.isfinite(norms)) or not np.all(norms > 0):
        bad = int(np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))[0])
        raise UsageError(f"data.semantics={path}: row {bad} is zero or not finite")
    return np.asarray(array, np.float32) / norms
