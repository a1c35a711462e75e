"""Which shapes packed captions have: at most four, chosen before a run from its corpus's captions.

The tokens of a batch hardly vary: a shape a little above their mean holds nearly all batches, two
more those that are unusual, and one row a caption holds any.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict

from aligngap.data import mixture, packing, records
from aligngap.data.packing import PackedText
from aligngap.data.records import Shaped, Source
from aligngap.data.tokenizers.tokenizer import Tokenizer

LOOKED_AT = 1000  # Records of all corpora, by their weights, evenly spread over each.
DRAWN = 64  # Groups that are drawn from their captions.
DEVIATIONS = 4.0  # Above the mean of what groups need: each further shape is compiled once.
NEXT = 1.125  # The second shape by the first, which is an estimate from so many records.


@dataclass(frozen=True)
class Plan:
    """How the captions of every batch of a run are packed."""

    groups: int  # Of the global batch: devices that split it, times microbatches.
    parts: int  # Microbatches.
    size: int  # Captions a group.
    row: int  # Tokens a row.
    counts: tuple[int, ...]  # Rows a group: a shape each, the last holds anything.

    def fitting(self, need: int) -> int:
        """The least of the shapes that has so many rows."""
        return next(count for count in self.counts if count >= need)

    def shapes(self, rows: int) -> dict[str, Shaped]:
        """The arrays that a batch has of them, beside those of `records.batch_shapes`."""
        slots = Shaped((self.groups, rows, self.row), np.int32)
        ends = Shaped((self.groups, self.size), np.int32)
        return packing.named(PackedText(slots, slots, slots, ends))

    def __str__(self) -> str:
        later = ", ".join(map(str, self.counts[1:]))
        return f"{self.size} captions share {self.counts[0]} rows of {self.row} tokens" + (
            f" ({later} where they are long)" if later else ""
        )


def make(config: ConfigDict, groups: int, counts: tuple[int, ...]) -> Plan:
    """The plan of a config whose batch is split into so many groups."""
    row = packing.row_length(config.model.text.context_length)
    return Plan(groups, config.microbatches, config.batch_size // groups, row, counts)


def counts(
    config: ConfigDict, source: Source, tokenizer: Tokenizer, groups: int
) -> tuple[int, ...]:
    """Rows a group, a function of config and corpus alone, rising."""
    texts = list(_captions(config, source))
    if not texts:  # Whoever reads the corpus says why.
        return (config.batch_size // groups,)
    ids = tokenizer.encode(texts, config.model.text.context_length)
    return counts_of(config, packing.lengths(ids), groups)


def counts_of(config: ConfigDict, lengths: Int[np.ndarray, "N"], groups: int) -> tuple[int, ...]:
    """Rows a group for captions of such lengths, rising."""
    size = config.batch_size // groups
    row = packing.row_length(config.model.text.context_length)
    return ladder(_needs(lengths, size, row), size)


def ladder(needs: Int[np.ndarray, "D"], size: int) -> tuple[int, ...]:
    """Shapes for groups like those that have these needs."""
    first = math.ceil(needs.mean() + DEVIATIONS * needs.std())
    second = math.ceil(NEXT * first)
    third = math.ceil(math.sqrt(second * size))
    return tuple(sorted({min(rows, size) for rows in (first, second, third, size)}))


def _needs(lengths: Int[np.ndarray, "N"], size: int, row: int) -> Int[np.ndarray, "D"]:
    """The rows that groups of captions of such lengths need."""
    random = np.random.default_rng(0)
    drawn = random.choice(lengths, (DRAWN, size))
    return np.array([packing.layout(group, row).needed for group in drawn])


def _captions(config: ConfigDict, source: Source) -> Iterator[str]:
    """Captions as training samples them."""
    random = np.random.default_rng(0)
    shares = mixture.shares(config.data.corpus)
    whole = sum(share.weight for share in shares)
    for share, part in zip(shares, mixture.parts_of(source), strict=True):
        count = math.ceil(LOOKED_AT * share.weight / whole)
        data = mixture.data_of(config, share.name)
        for _, record in records.readable(part, records.spread(part, count)):
            yield records.sample_caption(record, data, random)[0]
