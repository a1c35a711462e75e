"""Several corpora as one: its splits are theirs, as CORPUS/SPLIT."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from aligngap.data.corpus import Corpus, Licence
from aligngap.data.records import Source


class Mixture(Corpus):
    """What `data.corpus=NAME:WEIGHT,NAME:WEIGHT` names."""

    def __init__(self, data_dir: Path, parts: Mapping[str, Corpus]) -> None:
        super().__init__(data_dir)
        self.parts = parts
        self.splits = tuple(
            dataclasses.replace(split, name=f"{name}/{split.name}")
            for name, corpus in parts.items()
            for split in corpus.splits
        )
        self.kinds = tuple(dict.fromkeys(k for corpus in parts.values() for k in corpus.kinds))

    @property
    def name(self) -> str:
        return ",".join(self.parts)

    def open(self, split: str) -> Source:
        name, _, own = self.split(split).name.rpartition("/")
        return self.parts[name].open(own)

    def licences(self) -> Sequence[Licence]:
        return [licence for corpus in self.parts.values() for licence in corpus.licences()]

    def prepare(self) -> None:
        for corpus in self.parts.values():
            corpus.prepare()
