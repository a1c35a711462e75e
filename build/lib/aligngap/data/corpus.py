"""What a corpus is: what it says of itself, and how its records are opened."""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from aligngap.data.records import Record, Source
from aligngap.errors import UsageError

ROLES = ("train", "validation", "test", "other")


@dataclass(frozen=True)
class Split:
    """A split of a corpus: what it is for, and what a page says of it."""

    name: str
    role: str  # train | validation | test | other
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Variant:
    """What a record shows as one of several: a thing with one value of an attribute."""

    kind: str  # Of the attribute: "hair".
    thing: str  # "woman"
    value: str  # "red hair", as a caption says it.


@dataclass(frozen=True)
class Licence:
    """One source of a corpus: the package it comes in, and what the corpus takes from it."""

    source: str
    version: str
    licence: str
    package: str
    provides: str


@dataclass(frozen=True)
class Benchmark:
    """What LAION's CLIP_benchmark calls a set, its prompts and its class names; "": none."""

    name: str = ""
    prompts: str = ""
    classes: str = ""  # In the order of `Corpus.classes`, of the kind "label".


class Corpus(abc.ABC):
    """A corpus under a folder of data. Yours: a subclass, and `data.corpus=package.module.Name`.

    For instance, images and captions that are at hand:

        class Shapes(Corpus):
            splits = (Split("train", "train"), Split("test", "test"))

            def open(self, split: str) -> Source:
                return MyRecords(split)  # a sequence of Record with a `version`
    """

    splits: tuple[Split, ...]
    main: ClassVar[str] = ""  # The test split that a page leads with; "": the first.
    # Types of evaluators that make no sense on it, such as retrieval where captions are labels.
    unfit: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()  # Of labels that its records have.
    # A record's captions are names of one thing, of which evaluation takes the first; else each of
    # them is a text to be found.
    captions_are_names: bool = False
    benchmark: Benchmark = Benchmark()  # How zero-shot classification is prompted by default.

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir

    @property
    def name(self) -> str:
        """As messages call it."""
        return type(self).__name__.lower()

    @property
    def folder(self) -> Path:
        """Where what is made of it lies, such as the semantics of its captions."""
        return self.data_dir / self.name

    @abc.abstractmethod
    def open(self, split: str) -> Source:
        """The records of a split; AligngapError where they are missing or damaged."""

    def prepare(self) -> None:  # noqa: B027  # One that is at hand needs nothing.
        """Makes the corpus under `data_dir` unless it is there complete."""

    def licences(self) -> Sequence[Licence]:
        """What it is made of."""
        return ()

    def classes(self, kind: str) -> Mapping[str, Sequence[str]]:
        """Class of a kind → the texts of it, all of them candidates of zero-shot classification."""
        raise UsageError(f"{self.name} has no labels of kind {kind!r}")

    def variants(self, record: Record) -> Sequence[Variant]:
        """How a record differs from others of its thing, for arithmetic and object bias."""
        return ()

    def named(self, role: str) -> tuple[str, ...]:
        """The splits of a role."""
        return tuple(split.name for split in self.splits if split.role == role)

    def advice(self, role: str) -> str:
        """What to do where it has no split of a role."""
        return f"name one with data.{'test_splits' if role == 'test' else f'{role}_split'}"

    def split(self, name: str) -> Split:
        """By its name; UsageError for an unknown one."""
        for split in self.splits:
            if split.name == name:
                return split
        names = ", ".join(split.name for split in self.splits)
        raise UsageError(f"unknown split {name!r} of {self.name}: one of {names}")
