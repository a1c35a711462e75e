"""What is trained on: one corpus, or several with weights, as `data.corpus` says."""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from aligngap.data import records
from aligngap.data.records import Record, Source
from aligngap.errors import UsageError


class Share(NamedTuple):
    """A corpus by its name, and its weight in the mixture."""

    name: str
    weight: float


def shares(given: str) -> list[Share]:
    """ "cc12m:0.7,pictograms:0.3" → its parts; without weights all have the same. UsageError for
    weights that are none, and for a corpus named twice."""
    found = []
    for part in given.split(","):
        # A set of TFDS may have a version after a colon: imagenet2012:5.1.0.
        match = re.fullmatch(r"\s*(.+?)(?::(\d*\.?\d+(?:e-?\d+)?))?\s*", part)
        if not match or not match[1]:
            raise UsageError(f"data.corpus={given}: expected NAME, or NAME:WEIGHT,NAME:WEIGHT,...")
        found.append((match[1], match[2]))
    weighed = [weight for _, weight in found if weight]
    if weighed and len(weighed) < len(found):
        raise UsageError(f"data.corpus={given}: give each corpus a weight, or none of them")
    names = [name for name, _ in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"data.corpus={given}: {twice} stands there twice")
    if weighed and not all(float(weight) > 0 for weight in weighed):
        raise UsageError(f"data.corpus={given}: weights must be above 0")
    return [Share(name, float(weight or 1)) for name, weight in found]


def is_mixture(given: str) -> bool:
    """Whether `data.corpus` names several."""
    return "," in given


def data_of(config: ConfigDict, name: str) -> ConfigDict:
    """`config.data` as it is for one corpus: with what `data.of` says of it."""
    own = config.data.of.get(name)
    if own is None:
        return config.data
    found: ConfigDict = config.data.copy_and_resolve_references()
    found.update(own)
    return found


@dataclass(frozen=True)
class Joined:
    """The records of several corpora one after the other; a group is one corpus's."""

    parts: Sequence[Source]
    names: Sequence[str]
    means: bool = False  # Whether all parts say what their records mean, in one width.

    def __post_init__(self) -> None:
        """UsageError where a batch has no room for the groups of so many records."""
        if len(self.parts) * max(map(len, self.parts)) > records.GROUPS:
            raise UsageError(
                f"{', '.join(self.names)}: {len(self.parts)} corpora, the largest of "
                f"{max(map(len, self.parts)):,} records, have more groups than 2³¹"
            )

    @property
    def version(self) -> str:
        return ", ".join(part.version for part in self.parts)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, row: int) -> Record:
        part, own = self._find(row)
        return self.record(part, own)

    def captions(self, row: int) -> tuple[str, ...]:
        part, own = self._find(row)
        return records.captions_of(self.parts[part], own)

    def record(self, part: int, row: int) -> Record:
        """The record at a row of a part, its group unlike those of the other parts."""
        record = self.parts[part][row]
        group = records.group_of(record, row) * len(self.parts) + part
        return dataclasses.replace(
            record, group=group, semantics=record.semantics if self.means else None
        )

    def _find(self, row: int) -> tuple[int, int]:
        for number, part in enumerate(self.parts):
            if row < len(part):
                return number, row
            row -= len(part)
        raise IndexError(row)


def width_of(source: Source) -> int | None:
    """Of its semantics; None where it has none."""
    first = next(records.readable(source, range(len(source))), None)
    meaning = first and first[1].semantics
    return None if meaning is None else np.shape(meaning)[-1]


def parts_of(source: Source) -> list[Source]:
    """The sources of a mixture; of one corpus itself."""
    return list(source.parts) if isinstance(source, Joined) else [source]
