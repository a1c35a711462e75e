"""A whole split, read for evaluation: its images in order, and the texts right for them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int, UInt8
from ml_collections import ConfigDict
from PIL.Image import Image

from aligngap.data import corpora, images, records
from aligngap.data.corpus import Corpus, Split
from aligngap.data.records import Source


@dataclass(frozen=True)
class EvalSet:
    """N images and C texts; those of a group are right for each other."""

    name: str  # SPLIT, or CORPUS/SPLIT where it is another corpus's.
    corpus: Corpus
    source: Source
    texts: list[str]  # [C]
    image_group: Int[np.ndarray, "N"]  # Groups are counted in the order of their first image.
    text_group: Int[np.ndarray, "C"]
    labels: Mapping[str, list[str]]  # Kind → each image's class [N].
    names: list[str]  # [N]: what the corpus calls each record.

    @property
    def split(self) -> Split:
        """What the corpus says of it."""
        return self.corpus.split(self.name.rpartition("/")[2])

    @cached_property
    def image_text(self) -> Int[np.ndarray, "N"]:
        """Each image's own text: the first of its group."""
        _, first = np.unique(self.text_group, return_index=True)
        own: np.ndarray = first[self.image_group]
        return own

    def pixels(self, row: int, size: int, how: str) -> UInt8[np.ndarray, "R R 3"]:
        """An image made square as `data.resize` says."""
        return images.RESIZES[how](self.image(row), size)

    def image(self, row: int) -> Image:
        """An image, decoded."""
        return images.decode(self.source[row].image, f"{row} of {self.name}")

    def images(self) -> Iterator[Image]:
        """All of them in order, one at a time."""
        return map(self.image, range(len(self.source)))


def read(config: ConfigDict, name: str) -> EvalSet:
    """Reads the text side of every record; images stay on disk until they are asked for.

    `name` is SPLIT or CORPUS/SPLIT.
    """
    corpus, split = corpora.named(config, name)
    source, most = records.in_order(corpus.open(split)), config.data.max_keywords
    number: dict[int, int] = {}  # Of each group.
    found: list[tuple[int, str]] = []  # (group, text)
    known: set[tuple[int, str]] = set()
    rows, names = np.zeros(len(source), np.int64), []
    labels: dict[str, list[str]] = {kind: [] for kind in corpus.kinds}
    for row in range(len(source)):
        record = source[row]
        group = records.group_of(record, row)
        new = group not in number
        rows[row] = number.setdefault(group, len(number))
        count = 1 if corpus.captions_are_names else len(record.captions)
        if new or not corpus.captions_are_names:
            for which in range(count):
                text = (int(rows[row]), records.caption(record, most, which))
                # Images of a group share texts; those of one image all count, as CLIP_benchmark
                # counts them.
                if record.group is None or text not in known:
                    found.append(text)
                    known.add(text)
        for kind in corpus.kinds:
            labels[kind].append(record.labels[kind])
        names.append(record.name)
    groups = np.array([group for group, _ in found], np.int64)
    texts = [text for _, text in found]
    return EvalSet(name, corpus, source, texts, rows, groups, labels, names)
