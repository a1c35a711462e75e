"""A labelled set to train on: the texts of each record's class, in prompts, as its captions.

Contrastive fine-tuning, "Finetune like you pretrain" (Goyal et al. 2023).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from aligngap.data import records
from aligngap.data.corpus import Corpus
from aligngap.data.records import Record, Source
from aligngap.errors import UsageError


@dataclass(frozen=True)
class ClassCaptions(records.Over):
    """The same images; what a class is called in place of what is said of each of them.

    A group is a class, and there are no keywords; nobody has said what such a caption means.
    """

    kind: str  # Of labels.
    texts: Mapping[str, Sequence[str]]  # Class → what it is called; others are called by its name.
    prompts: tuple[str, ...]  # Each with a {}.
    numbers: Mapping[str, int]  # Class → group; a record of another is a group of its own.

    @property
    def version(self) -> str:
        return f"{self.source.version} by {self.kind} in {self.prompts}"

    def __getitem__(self, row: int) -> Record:
        record = self.source[row]
        name = record.labels[self.kind]
        captions = [p.format(t) for t in self.texts.get(name, (name,)) for p in self.prompts]
        group = self.numbers.get(name, len(self.numbers) + row)
        return replace(record, captions=tuple(captions), keywords=(), group=group, semantics=None)


def of(source: Source, corpus: Corpus, kind: str, prompts: Sequence[str]) -> ClassCaptions:
    """UsageError for a corpus without labels of that kind."""
    if kind not in corpus.kinds:
        known = ", ".join(corpus.kinds) or "none"
        raise UsageError(
            f"data.class_captions={kind}: {corpus.name} has no such labels; it has {known}"
        )
    texts = {name: tuple(found) for name, found in corpus.classes(kind).items()}
    return ClassCaptions(source, kind, texts, tuple(prompts), {n: i for i, n in enumerate(texts)})
