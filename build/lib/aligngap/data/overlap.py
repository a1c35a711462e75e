"""What a corpus to train on says of things that another corpus holds out.

Whoever trains on photographs called "a butterfly" has seen butterflies, whatever the pictograms
hold out. Names are compared as whole words in lower case.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from aligngap import progress
from aligngap.data import records
from aligngap.data.corpus import Corpus
from aligngap.data.records import Record, Source

WORD = re.compile(r"\w+")
Words = tuple[str, ...]


@dataclass(frozen=True)
class Some:
    """Some records of a source, in their order."""

    source: Source
    rows: Int[np.ndarray, "N"]

    @property
    def version(self) -> str:
        return f"{self.source.version}, {len(self)} of {len(self.source)}"

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Record:
        return self.source[int(self.rows[row])]

    def captions(self, row: int) -> tuple[str, ...]:
        return records.captions_of(self.source, int(self.rows[row]))

    @property
    def by_blocks(self) -> bool:
        return records.by_blocks(self.source)

    def blocks(self, size: int) -> np.ndarray | None:
        blocks = records.blocks_of(self.source, size)
        return None if blocks is None else np.searchsorted(self.rows, blocks).astype(np.uint64)

    def in_blocks(self, size: int, most: int) -> Source:
        return replace(self, source=records.in_blocks(self.source, size, most))


def without(source: Source, held_out: set[Words], title: str) -> Source:
    """The records none of whose captions and keywords has one of these names; says how many
    that leaves out. One that cannot be read may have any name, and is left out too."""
    rows = progress.track(range(len(source)), f"Names in {title}", len(source), "records")
    kept, named = [], 0
    for row, record in records.readable(records.in_order(source), rows):
        if names_in(record, held_out):
            named += 1
        else:
            kept.append(row)
    progress.say(f"{title}: {named:,} of {len(source):,} pairs name what is held out")
    return Some(source, np.array(kept, np.int64))


def held_out(corpora: Iterable[Corpus]) -> set[Words]:
    """The names, as words, of whatever is in their splits to choose by and to test on, but in no
    record that they train on."""
    found: set[Words] = set()
    for corpus in corpora:
        seen = set(_names(corpus, ("train",)))
        found |= set(_names(corpus, ("validation", "test"))) - seen
    return found - {()}


def names_in(record: Record, held_out: set[Words]) -> set[Words]:
    """Those of the names that stand in a caption or in a keyword."""
    longest = max(map(len, held_out), default=0)
    found: set[Words] = set()
    for text in (*record.captions, *record.keywords):
        said = words(text)
        for start in range(len(said)):
            ends = range(start + 1, min(start + longest, len(said)) + 1)
            found |= {said[start:end] for end in ends} & held_out
    return found


def _names(corpus: Corpus, roles: Iterable[str]) -> Iterator[Words]:
    for role in roles:
        for split in corpus.named(role):
            source = records.in_order(corpus.open(split))
            for _, record in records.readable(source, range(len(source))):
                yield from map(words, record.captions)


def words(text: str) -> Words:
    """ "A hot-dog." → ("a", "hot", "dog")."""
    return tuple(WORD.findall(text.lower()))
