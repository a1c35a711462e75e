"""A split whose captions are a function of the row; also a program that embeds them."""

import sys
from dataclasses import dataclass
from pathlib import Path

from aligngap.data.records import Record

WORDS = ("a", "the", "cat", "dog", "sat", "on", "mat", "red", "of")


@dataclass(frozen=True)
class MadeCaptions:
    """One to three captions a record, of one to nine words; no image can be decoded."""

    records: int
    version: str = "made 1"

    def __len__(self) -> int:
        return self.records

    def captions(self, row: int) -> tuple[str, ...]:
        return tuple(
            " ".join(WORDS[(row * 7 + which * 5 + word) % 9] for word in range(1 + row % 9))
            for which in range(1 + row % 3)
        )

    def __getitem__(self, row: int) -> Record:
        return Record(b"", self.captions(row))


if __name__ == "__main__":
    from aligngap.data import semantics, sentences

    model, folder = sys.argv[1:]
    encoder = sentences.load(model, Path(folder))
    semantics.write(MadeCaptions(2500), Path(folder), "train", encoder, at_a_time=40)
