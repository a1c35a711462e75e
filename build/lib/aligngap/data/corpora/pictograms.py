"""The pictograms corpus: emoji in twelve drawing styles with their names and keywords.

A record is one rendering of one concept; its group and its semantics are the concept's, whichever
of its captions is sampled, so that renderings of one concept are never pushed apart and a keyword
such as "red" does not stand for the picture's meaning.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from aligngap.data.corpora import pictogram_variants
from aligngap.data.corpora.pictogram_splits import (
    FLAGS,
    TRAIN,
    UNSEEN_BOTH,
    UNSEEN_CONCEPT,
    UNSEEN_STYLE,
    VALIDATION,
)
from aligngap.data.corpora.tfds import TfdsCorpus
from aligngap.data.corpus import Split, Variant
from aligngap.data.records import Record

SPLITS = (
    Split(TRAIN, "train"),
    Split(VALIDATION, "validation"),
    Split(
        UNSEEN_STYLE,
        "test",
        "Unseen style",
        "concepts that training saw, in a drawing style that it never did",
    ),
    Split(
        UNSEEN_CONCEPT,
        "test",
        "Unseen concepts",
        "concepts that training never saw, in drawing styles that it did",
    ),
    Split(
        UNSEEN_BOTH,
        "test",
        "Unseen concepts in an unseen style",
        "neither the concept nor its drawing style was seen in training",
    ),
    Split(FLAGS, "other", "Flags", "flags, whose names are those of countries"),
)


class Pictograms(TfdsCorpus):
    """Pictures and names, held out by group of concepts and by drawing family."""

    builder = "aligngap.data.corpora.pictogram_builder.PictogramBuilder"
    splits = SPLITS
    main = UNSEEN_CONCEPT
    kinds = ("group", "subgroup")
    captions_are_names = True

    @staticmethod
    def record(raw: Mapping[str, Any]) -> Record:
        texts, names = [text.decode() for text in raw["captions"]], int(raw["num_names"])
        return Record(
            image=raw["image"],
            captions=tuple(texts[:names]),
            keywords=tuple(texts[names:]),
            group=int(raw["concept_number"]),
            labels={kind: raw[kind].decode() for kind in Pictograms.kinds},
            semantics=raw["semantics"],
            name=raw["concept"].decode(),
        )

    def variants(self, record: Record) -> Sequence[Variant]:
        return tuple(pictogram_variants.variants(record.captions[0]))

    def classes(self, kind: str) -> Mapping[str, Sequence[str]]:
        """Those of the test splits: "food-drink" is "food drink", "food" and "drink"."""
        return {name: _texts(name) for name in sorted({labels[kind] for labels in self._labels})}

    @functools.cached_property
    def _labels(self) -> list[Mapping[str, str]]:
        """Of every record to test on."""
        sources = [self.open(split) for split in self.named("test")]
        return [source[row].labels for source in sources for row in range(len(source))]


def _texts(name: str) -> list[str]:
    words = name.split("-")
    return [" ".join(words), *(words if len(words) > 1 else [])]
