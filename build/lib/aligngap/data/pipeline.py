"""Records → batches, as a pure function of (seed, step), and each process's rows of them."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import grain
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from aligngap import progress
from aligngap.config import data_dir
from aligngap.data import corpora, mixture, records, semantics, sentence_models, stream
from aligngap.data.example import Example, Part
from aligngap.data.mixture import Joined
from aligngap.data.records import Batch, Source
from aligngap.data.semantics import OwnSemantics
from aligngap.data.sentence_models import SentenceTokens
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
    parts = _parts(config, _read_as_shuffled(config, source))
    example = Example(config, tokenizer, parts, sentence_tokens(config))
    places = _places(config, parts)
    own = list(range(config.batch_size)) if rows is None else list(rows)
    chosen = Chosen(places.random_map(example), first, config.batch_size, own)
    read = (
        grain.MapDataset.source(chosen)
        .batch(len(own))
        .to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=8))
    )
    if config.data.workers:
        flags.FLAGS.mark_as_parsed()  # Grain reads its own flags, which no absl main has parsed.
        read = read.mp_prefetch(grain.multiprocessing.MultiprocessingOptions(config.data.workers))

    def why(batch: int, row: int) -> str:
        return example.why(places[(first + batch) * config.batch_size + own[row]])

    reading = iter(read)
    reading.start_prefetch()  # The first batches are made while a run evaluates or compiles.
    return Batches(_told(reading), why)


def _parts(config: ConfigDict, source: Source) -> list[Part]:
    """What is trained on, corpus by corpus; AligngapError for one that is empty."""
    if isinstance(source, Joined):
        parts = [
            Part(part, name, mixture.data_of(config, name), partial(source.record, number))
            for number, (name, part) in enumerate(zip(source.names, source.parts, strict=True))
        ]
    else:
        split, own = corpora.train_split(config), own_semantics(config, len(source))
        data = mixture.data_of(config, config.data.corpus)
        parts = [Part(source, split, data, source.__getitem__, own)]
    for part in parts:
        if len(part.source) < 1:
            raise AligngapError(f"{part.name} of {config.data.corpus} is empty")
    return parts


def _places(config: ConfigDict, parts: Sequence[Part]) -> Any:
    """The endless stream of places."""
    orders = [_order(config, part.source, number) for number, part in enumerate(parts)]
    if len(parts) == 1 and isinstance(orders[0], stream.Shuffled):
        rows = grain.MapDataset.source(Rows(len(parts[0].source)))
        return rows.seed(config.seed).shuffle().repeat()
    return grain.MapDataset.source(stream.Mixed(orders, _segments(config))).seed(config.seed)


def _segments(config: ConfigDict) -> list[stream.Segment]:
    """When which corpora take turns, as the config says."""
    weights = [share.weight for share in mixture.shares(config.data.corpus)]
    schedule = [(0, weights), *config.data.mixture_schedule]
    return stream.segments([(step * config.batch_size, w) for step, w in schedule])


def epochs(config: ConfigDict, source: Source) -> str:
    """What a run of `config.steps` sees: "664 pairs of stamps 117.2 times", and of each corpus."""
    turns = stream.turns_before(_segments(config), config.steps * config.batch_size)
    names = [share.name for share in mixture.shares(config.data.corpus)]
    parts = zip(turns, mixture.parts_of(source), names, strict=True)
    return ", ".join(
        f"{len(x):,} pairs of {name} {n / max(len(x), 1):.1f} times" for n, x, name in parts
    )


def _order(config: ConfigDict, source: Source, number: int) -> stream.Order:
    """A corpus's own: others of the same length have another."""
    data = config.data
    seed = int(np.random.SeedSequence([config.seed, number]).generate_state(1)[0])
    if data.replacement:
        return stream.Drawn(len(source), seed)
    if not _in_blocks(config, source):
        return stream.Shuffled(len(source), seed)
    own = records.blocks_of(source, data.block_size)
    blocks = stream.even_blocks(len(source), data.block_size) if own is None else np.asarray(own)
    return stream.Blocks(blocks, data.window_blocks, seed)


def _in_blocks(config: ConfigDict, source: Source) -> bool:
    data = config.data
    asked = data.shuffle == "block" or (data.shuffle == "" and records.by_blocks(source))
    return bool(asked and not data.replacement)


def _read_as_shuffled(config: ConfigDict, source: Source) -> Source:
    """What is shuffled in blocks is read in them. Threads that read ahead stand in two windows."""
    if isinstance(source, Joined):
        parts = [_read_as_shuffled(config, part) for part in source.parts]
        return replace(source, parts=parts)
    if not _in_blocks(config, source):
        return source
    return records.in_blocks(source, config.data.block_size, 2 * config.data.window_blocks)


def check(config: ConfigDict, source: Source) -> None:
    """UsageError, before a run begins, for semantics that are bad or that the objective lacks."""
    own, in_step = own_semantics(config, len(source)), sentence_tokens(config)
    given = own is not None or in_step is not None
    if not records.rescales(config) or given:
        return
    shares = mixture.shares(config.data.corpus)
    widths = [mixture.width_of(part) for part in mixture.parts_of(source)]
    for share, width in zip(shares, widths, strict=True):
        if width is None:
            command = f"aligngap prepare --corpus={share.name} --semantics=minilm{_where(config)}"
            raise UsageError(
                f"objective.separation_weight re-scales by semantics, which {share.name} does not "
                f"have: run `{command}` once; or give data.semantics=FILE.npy, "
                "data.semantics_from=step or objective.semantic_rescaling=False"
            )
    if len({*widths}) > 1:
        raise UsageError(
            f"the semantics of {config.data.corpus} have widths {widths}: embed all of them with "
            "one model (`aligngap prepare --semantics`), or give data.semantics_from=step"
        )


def _where(config: ConfigDict) -> str:
    """The flag of `prepare` for where the config's corpora are; "" for the usual folder."""
    return f" --data_dir={config.data.data_dir}" if config.data.data_dir else ""


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
