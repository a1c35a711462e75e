"""Records → batches, as a pure function of (seed, step); the shard of each process; whole splits.

A training record's semantics are those of its CONCEPT (the sentence embedding of its label),
whichever of its captions is sampled: renderings of one concept are then never pushed apart, and a
keyword such as "red" does not stand for the picture's meaning.
"""

import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grain
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from aligngap.config import data_dir
from aligngap.data import corpora, images
from aligngap.data.vocabulary import AnyTokenizer
from aligngap.errors import AligngapError, UsageError

Record = dict[str, Any]
Batch = dict[str, np.ndarray]


@dataclass(frozen=True)
class Example(grain.transforms.RandomMap):
    """A record → what one row of a batch holds; all randomness from the generator it is given."""

    config: ConfigDict
    tokenizer: AnyTokenizer
    semantics: np.ndarray | None

    def random_map(self, element: tuple[int, Record], rng: np.random.Generator) -> Batch:
        row, record = element
        data, model = self.config.data, self.config.model
        crop = images.random_crop(
            record["image"], model.image.size, data.crop_scale, data.crop_ratio, rng
        )
        caption = sample_caption(record, data, rng)
        semantics = record["semantics"] if self.semantics is None else self.semantics[row]
        return {
            "image": crop,
            "text": self.tokenizer.encode([caption], model.text.context_length)[0],
            "semantics": np.asarray(semantics, np.float32),
            "group": group_id(record),
        }


class Rows(Sequence[tuple[int, Record]]):
    """What Grain reads from: records that know their row, with their image decoded.

    With `keep`, a record is read and decoded once and then held in memory by each process.
    """

    def __init__(self, source: Any, name: str, keep: bool) -> None:
        self._source, self._name = source, name
        self._kept: dict[int, Record] | None = {} if keep else None

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, row: Any) -> Any:
        row = int(row)
        if self._kept is None:
            return row, self._read(row)
        if row not in self._kept:
            self._kept[row] = self._read(row)
        return row, self._kept[row]

    def __repr__(self) -> str:
        return f"Rows({self._name}, {len(self)})"

    def _read(self, row: int) -> Record:
        record = self._source[row]
        return {**record, "image": images.decode(record["image"], f"{row} of {self._name}")}


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


def open_split(config: ConfigDict, split: str) -> Any:
    """The random-access source of a split of the config's corpus."""
    return corpora.open_split(config.data.corpus, data_dir(config.data.data_dir), split)


def captions(record: Record) -> list[str]:
    """All captions of a record: names first, then keywords."""
    return [caption.decode() for caption in record["captions"]]


def group_id(record: Record) -> np.int32:
    """A number for the record's concept; two concepts of one batch share one with chance 1e-5."""
    return np.int32(zlib.crc32(record["concept"]) & 0x7FFFFFFF)


def caption(record: Record, max_keywords: int) -> str:
    """The caption that evaluation uses: the label and its first keywords, as in "dog, pet"."""
    texts, names = captions(record), int(record["num_names"])
    return ", ".join([texts[0], *texts[names : names + max_keywords]])


def sample_caption(record: Record, data: ConfigDict, rng: np.random.Generator) -> str:
    """A caption to train on: with chance `name_share` one of the names, then some of the keywords.

    Without names now and then, keywords too must be told apart: all that an unseen concept has.
    """
    texts, names = captions(record), int(record["num_names"])
    keywords = texts[names:]
    named = not (keywords and data.max_keywords) or rng.random() < data.name_share
    count = min(int(rng.integers(0 if named else 1, data.max_keywords + 1)), len(keywords))
    chosen = [keywords[i] for i in rng.choice(len(keywords), count, replace=False)] if count else []
    if not named:
        return ", ".join(chosen)
    return ", ".join([texts[0 if data.first_caption else rng.integers(names)], *chosen])


def batches(
    config: ConfigDict,
    source: Any,
    tokenizer: AnyTokenizer,
    *,
    first: int = 0,
    rows: Sequence[int] | None = None,
) -> Iterator[Batch]:
    """Endless batches from number `first` on: these rows of each global batch (default: all).

    Row i of the endless stream depends on (seed, i) alone, and batch k is rows k·B to (k+1)·B. So
    neither workers nor processes nor a restart change what is seen.
    """
    if len(source) < 1:
        raise AligngapError(f"split {config.data.train_split} of {config.data.corpus} is empty")
    example = Example(config, tokenizer, own_semantics(config, len(source)))
    read = Rows(source, config.data.train_split, config.data.in_memory)
    endless = grain.MapDataset.source(read).seed(config.seed).shuffle().repeat()
    own = list(range(config.batch_size)) if rows is None else list(rows)
    chosen = Chosen(endless.random_map(example), first, config.batch_size, own)
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
    return _told(stream)


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
            f"for each record of split {config.data.train_split}"
        )
    norms = np.linalg.norm(np.asarray(array, np.float32), axis=1, keepdims=True)
    if not np.all(np.isfinite(norms)) or not np.all(norms > 0):
        bad = int(np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))[0])
        raise UsageError(f"data.semantics={path}: row {bad} is zero or not finite")
    return np.asarray(array, np.float32) / norms
