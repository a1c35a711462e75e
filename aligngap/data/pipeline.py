"""Records → batches, as a pure function of (seed, step), and each process's rows of them."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import grain
import numpy as np
from absl import flags
from ml_collections import ConfigDict
from PIL.Image import Image

from aligngap.config import data_dir
from aligngap.data import corpora, images, records, semantics, sentence_models
from aligngap.data.records import Batch, Record, Source
from aligngap.data.semantics import OwnSemantics
from aligngap.data.sentence_models import SentenceTokens
from aligngap.data.tokenizers.tokenizer import Tokenizer
from aligngap.errors import AligngapError, UsageError


class Read(NamedTuple):
    """A record that was read: its row in the split, and its image decoded."""

    row: int
    record: Record
    image: Image


@dataclass(frozen=True)
class Example(grain.transforms.RandomMap):
    """A record → what one row of a batch holds; all randomness from the generator it is given."""

    config: ConfigDict
    tokenizer: Tokenizer
    semantics: OwnSemantics | None
    sentence: SentenceTokens | None  # Where the step says what captions mean.

    def random_map(self, element: Read, rng: np.random.Generator) -> Batch:
        data, model = self.config.data, self.config.model
        record, size = element.record, model.image.size
        crop = images.random_crop(element.image, size, data.crop_scale, data.crop_ratio, rng)
        caption, which = records.sample_caption(record, data, rng)
        row = {
            "image": crop,
            "text": self.tokenizer.encode([caption], model.text.context_length)[0],
            "group": records.group_of(record, element.row),
        }
        if (meaning := self._semantics(element, which)) is not None:
            row["semantics"] = meaning
        if self.sentence is not None:
            row["sentence"] = self.sentence(caption)
        return records.row(self.config, row)

    def _semantics(self, element: Read, which: int) -> np.ndarray | None:
        """The user's, else the record's: one for all its captions, or that of the sampled one."""
        if self.semantics is not None:
            return self.semantics[element.row]
        own = element.record.semantics
        return own if own is None or np.ndim(own) == 1 else own[which]


class Rows(Sequence[Read]):
    """What Grain reads from. With `keep`, a record is read and decoded once and then held in
    memory by each process."""

    def __init__(self, source: Source, name: str, keep: bool) -> None:
        self._source, self._name = source, name
        self._kept: dict[int, Read] | None = {} if keep else None

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, row: Any) -> Any:
        row = int(row)
        if self._kept is None:
            return self._read(row)
        if row not in self._kept:
            self._kept[row] = self._read(row)
        return self._kept[row]

    def __repr__(self) -> str:
        return f"Rows({self._name}, {len(self)})"

    def _read(self, row: int) -> Read:
        record = self._source[row]
        return Read(row, record, images.decode(record.image, f"{row} of {self._name}"))


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


def batches(
    config: ConfigDict,
    source: Source,
    tokenizer: Tokenizer,
    *,
    first: int = 0,
    rows: Sequence[int] | None = None,
) -> Iterator[Batch]:
    """Endless batches from number `first` on: these rows of each global batch (default: all).

    Row i of the endless stream depends on (seed, i) alone, and batch k is rows k·B to (k+1)·B. So
    neither workers nor processes nor a restart change what is seen.
    """
    split = corpora.train_split(config)
    if len(source) < 1:
        raise AligngapError(f"split {split} of {config.data.corpus} is empty")
    own_meaning, sentence = own_semantics(config, len(source)), sentence_tokens(config)
    example = Example(config, tokenizer, own_meaning, sentence)
    read = Rows(source, split, config.data.in_memory)
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


def check(config: ConfigDict, source: Source) -> None:
    """UsageError, before a run begins, for semantics that are bad or that the objective lacks."""
    own, in_step = own_semantics(config, len(source)), sentence_tokens(config)
    given = own is not None or in_step is not None
    if records.rescales(config) and not given and len(source) and source[0].semantics is None:
        raise UsageError(
            f"objective.separation_weight re-scales by semantics, which {config.data.corpus} does "
            "not have: `aligngap prepare --corpus=NAME --semantics=minilm` writes them; or give "
            "data.semantics=FILE.npy, data.semantics_from=step or "
            "objective.semantic_rescaling=False"
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


def sentence_tokens(config: ConfigDict) -> SentenceTokens | None:
    """What makes the tokens of the step's sentence encoder; None where the step embeds nothing."""
    if not records.embeds_in_step(config):
        return None
    folder, length = data_dir(config.data.data_dir), config.data.semantics_tokens
    model = sentence_models.read(config.data.semantics_model, folder)
    if length > model.max_tokens:
        raise UsageError(
            f"data.semantics_tokens={length} is more than the {model.max_tokens} that "
            f"{model.name} takes"
        )
    return SentenceTokens(model.tokenizer(length), length)


def own_semantics(config: ConfigDict, records: int) -> OwnSemantics | None:
    """The user's own embeddings of the training records; None: the corpus's."""
    if not config.data.semantics:
        return None
    return semantics.own(
        Path(config.data.semantics).expanduser(), records, corpora.train_split(config)
    )
