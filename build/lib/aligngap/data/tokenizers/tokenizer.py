"""What a tokenizer is: captions to token ids, how it is saved, and how others read it."""

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Int32
from ml_collections import ConfigDict

from aligngap.data.corpus import Licence
from aligngap.errors import AligngapError


@dataclass(frozen=True)
class Snippet:
    """Python that makes the same ids with public packages alone, for the card of a model."""

    packages: str  # On PyPI.
    imports: str  # Above `from PIL import Image`, and what follows below it.
    setup: str
    function: str  # ids_of(texts) -> int32 [N, L]


class Tokenizer(abc.ABC):
    """Yours: a subclass that can be pickled, and `data.tokenizer=package.module.Name`."""

    file: ClassVar[str]  # What it is saved as, in the folder `tokenizer/` of a run.
    size: ClassVar[int | None] = None  # Of the one vocabulary there is; None: there are several.
    cleans: ClassVar[bool] = False  # Whether captions are cleaned first as OpenAI's code does.
    family: ClassVar[str] = "CLIP"  # transformers' processor of tokens and pixels.
    licences: ClassVar[tuple[Licence, ...]] = ()  # Of what `prepare` fetches.

    @classmethod  # noqa: B027  # Most need nothing.
    def prepare(cls, data_dir: Path) -> None:
        """Fetches into `data_dir` what `make` reads, unless it is there."""

    @classmethod
    @abc.abstractmethod
    def make(cls, captions: Iterable[str], vocab_size: int, data_dir: Path) -> Self:
        """The tokenizer of a run that starts; AligngapError where it cannot be made here."""

    @classmethod
    @abc.abstractmethod
    def load(cls, folder: Path) -> Self:
        """What `save` wrote; AligngapError if missing, damaged or of another form."""

    @classmethod
    def read(
        cls, folder: Path, settings: Callable[[], Mapping[str, Any]], pooling: str
    ) -> "tuple[Tokenizer | None, str] | None":
        """What `for_transformers` is for, the other way; None: the folder holds none of this form.

        Else the tokenizer with a note, or None and why it cannot be had. `settings` reads
        tokenizer_config.json; `pooling` is the text tower's. AligngapError for a damaged one.
        """
        return None

    @classmethod
    def like(cls, other: "Tokenizer") -> "Tokenizer | None":
        """A vocabulary, read from elsewhere, as this kind uses it; None: it is of another form."""
        return other if type(other) is cls else None

    @classmethod
    def problems(cls, name: str, text: ConfigDict) -> Iterator[str]:
        """What of the config's `model.text` does not fit `data.tokenizer=name`, as sentences."""
        if cls.size is not None and text.vocab_size != cls.size:
            yield (
                f"model.text.vocab_size={text.vocab_size} does not fit data.tokenizer={name}, "
                f"which has {cls.size} tokens: give that, or `trained`"
            )

    @property
    @abc.abstractmethod
    def vocab_size(self) -> int:
        """Number of tokens; ids are below."""

    @property
    def start_id(self) -> int | None:
        """What each row starts with; None: with the text."""
        return None

    @property
    @abc.abstractmethod
    def end_id(self) -> int:
        """What ends a text. A text tower that pools at `end_of_text` needs it to be the highest."""

    @property
    def padding_id(self) -> int:
        """What fills the rest of the context."""
        return self.end_id

    @property
    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Another text whenever ids may be others."""

    @abc.abstractmethod
    def encode(self, texts: Sequence[str], context_length: int) -> Int32[np.ndarray, "N L"]:
        """Ids of each text, ended and padded; a long text loses its tail, not its end."""

    @abc.abstractmethod
    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of one row of `encode`, as far as ids tell."""

    @abc.abstractmethod
    def save(self, folder: Path) -> None:
        """Writes folder/`file`, whole or not at all."""

    def for_transformers(self, context_length: int) -> Mapping[str, str]:
        """What transformers and open_clip want beside `file`: name → content."""
        raise AligngapError(f"{type(self).__name__} has no form that transformers reads")

    def settings(self) -> dict[str, Any]:
        """What another program must know to make the same ids out of `file`."""
        return {"tokenizer": self.file}

    def snippet(self, context_length: int) -> Snippet | None:
        """How `file` is read without this package; None: the card does not say."""
        return None
