"""SigLIP's form of a sentencepiece vocabulary (Zhai et al. 2023): captions to token ids.

Ids are those of transformers' SiglipTokenizer over the same spiece.model, with
`split_special_tokens=True`: "</s>" inside a caption is text.
"""

import functools
import hashlib
import json
import re
import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Int32
from ml_collections import ConfigDict
from sentencepiece import SentencePieceProcessor, set_min_log_level

from aligngap import atomic
from aligngap.data.tokenizers.tokenizer import Snippet, Tokenizer
from aligngap.errors import AligngapError, UsageError

FILE = "spiece.model"
END, UNKNOWN = "</s>", "<unk>"
SPACE = "▁"  # What the library writes for the space before a word.
SILENT = 3  # The library's level "fatal": its errors are raised, and need not be printed too.
TRANSFORMERS = {  # What a SiglipTokenizer is unless its tokenizer_config.json says otherwise.
    "tokenizer_class": "SiglipTokenizer",
    "eos_token": END,
    "pad_token": END,
    "unk_token": UNKNOWN,
    "do_lower_case": True,
}
# With a mask the padding would be hidden, at which SigLIP's texts are pooled.
UNMASKED = ["input_ids"]
MASKED = (
    "transformers hides the padding of texts unless tokenizer_config.json has "
    f'"model_input_names": {json.dumps(UNMASKED)}; here it is read, as SigLIP was trained'
)
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Siglip(Tokenizer):
    """A vocabulary of SigLIP's form; make one with `load`."""

    model: bytes  # Of the file spiece.model.
    file = FILE
    family = "Siglip"

    def __reduce__(self) -> tuple[object, ...]:
        return Siglip, (self.model,)

    @classmethod
    def make(cls, captions: Iterable[str], vocab_size: int, data_dir: Path) -> Self:
        """Never: none are learnt here."""
        raise AligngapError(
            "data.tokenizer=siglip comes with an imported model and cannot be learnt: "
            "give a run trained, clip or clip_fast"
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Of folder/spiece.model; AligngapError if missing, damaged or of other form."""
        path = folder / FILE
        try:
            found = cls(path.read_bytes())
            set_min_log_level(SILENT)
            missing = [name for name in (END, UNKNOWN) if not found._holds(name)]
        except OSError as error:
            raise AligngapError(f"cannot read the tokenizer {path}: {error.strerror}") from error
        except (RuntimeError, IndexError, UnicodeDecodeError) as error:  # Unreadable; empty; bytes.
            raise AligngapError(f"{path} is damaged, or no sentencepiece model") from error
        if missing:
            raise AligngapError(f"{path} is no vocabulary of SigLIP's form: it lacks {missing[0]}")
        return found

    @classmethod
    def read(
        cls, folder: Path, settings: Callable[[], Mapping[str, Any]], pooling: str
    ) -> tuple[Tokenizer | None, str] | None:
        """The folder's spiece.model, where the settings are those of a SiglipTokenizer."""
        if not (folder / FILE).is_file():
            return None
        given = settings()
        for name, value in TRANSFORMERS.items():
            if given.get(name, value) != value:
                why = f"{name} of its tokenizer_config.json is {given[name]!r}, not {value!r}"
                return None, why
        masked = given.get("model_input_names", None if given else UNMASKED) != UNMASKED
        return cls.load(folder), MASKED if masked else ""

    @classmethod
    def problems(cls, name: str, text: ConfigDict) -> Iterator[str]:
        yield from super().problems(name, text)
        if text.pooling != "last":
            yield (
                f"model.text.pooling={text.pooling} does not fit data.tokenizer={name}, "
                "whose end of text is not its highest id: expected last"
            )

    @functools.cached_property
    def backend(self) -> SentencePieceProcessor:
        """The library's own object; RuntimeError where the bytes are none of its models."""
        return SentencePieceProcessor(model_proto=self.model)

    @property
    def vocab_size(self) -> int:
        """Number of tokens, all of the file's."""
        return self.backend.get_piece_size()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that ids depend on."""
        return hashlib.sha256(b"siglip" + self.model).hexdigest()

    @property
    def end_id(self) -> int:
        """The id of end of text; also what pads."""
        return self.backend.piece_to_id(END)

    def encode(self, texts: Sequence[str], context_length: int) -> Int32[np.ndarray, "N L"]:
        """The text's tokens, end, padded with end; a long text loses its tail, not its end."""
        if context_length < 2:
            raise UsageError(f"context_length is {context_length}; a token and the end need 2")
        ids = np.full((len(texts), context_length), self.end_id, np.int32)
        # A word in front keeps the library from taking the first space away. The same as in
        # transformers, so that the ids are too where that shows (a caption that starts with one).
        given = [UNKNOWN + canonical(text) for text in texts]
        before = len(self.backend.encode(UNKNOWN))
        for row, found in zip(ids, self.backend.encode(given), strict=True):
            kept = found[before : before + context_length - 1]
            row[: len(kept)] = kept
        return ids

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The canonical text of one row of `encode`; " ⁇ " where it has no token."""
        return self.backend.decode([int(i) for i in ids if i != self.end_id])

    def save(self, folder: Path) -> None:
        """Writes folder/spiece.model, whole or not at all; AligngapError where it cannot."""
        atomic.write(folder / FILE, self.model)

    def for_transformers(self, context_length: int) -> Mapping[str, str]:
        """What SiglipTokenizer wants."""
        settings = {"model_max_length": context_length, "model_input_names": UNMASKED}
        settings |= {"split_special_tokens": True}  # "</s>" in a caption is text, as it is here.
        return {"tokenizer_config.json": atomic.as_json(TRANSFORMERS | settings)}

    def settings(self) -> dict[str, Any]:
        return {"tokenizer": self.file, "canonical": "as SiglipTokenizer"}

    def snippet(self, context_length: int) -> Snippet:
        setup = f"""from sentencepiece import SentencePieceProcessor

pieces = SentencePieceProcessor(model_file="{FILE}")
before = pieces.encode("{UNKNOWN}")  # Keeps the space in front of the first word."""
        function = rf"""def ids_of(texts):
    ids = np.full((len(texts), {context_length}), {self.padding_id}, np.int32)
    for row, text in zip(ids, texts):
        text = ("{SPACE}" + text.replace("{SPACE}", " ")).lower()
        text = text.translate(str.maketrans("", "", string.punctuation))
        text = re.sub(r"\s+", " ", text).strip()
        kept = pieces.encode("{UNKNOWN}" + text)[len(before) :][: {context_length - 1}]
        row[: len(kept)] = kept
    return ids"""
        return Snippet("sentencepiece", "import re\nimport string\n", setup, function)

    def _holds(self, name: str) -> bool:
        return self.backend.id_to_piece(self.backend.piece_to_id(name)) == name


def canonical(text: str) -> str:
    """Lower case, no ASCII punctuation, one space a gap, and the mark of a space in front."""
    marked = (SPACE + text.replace(SPACE, " ")).lower().translate(_WITHOUT_PUNCTUATION)
    return re.sub(r"\s+", " ", marked).strip()
