"""Byte-pair encoding in CLIP's form: captions to token ids, and the vocabulary's training.

Laid out as CLIP's vocabulary is: 256 bytes, the same 256 ending a word, one token a merge, then
start and end of text as the two highest ids, so that pooling finds the end of a caption as the
argmax of its ids. Ids equal those of transformers' CLIPTokenizerFast over the same merges.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import tokenizers
from jaxtyping import Int32
from ml_collections import ConfigDict
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from aligngap import atomic, json_text
from aligngap.data.tokenizers import cleaning
from aligngap.data.tokenizers.tokenizer import Snippet, Tokenizer
from aligngap.errors import AligngapError, UsageError

FILE = "tokenizer.json"
START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
# What CLIP takes for a word (Radford et al. 2021; the same in transformers).
WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|"
    r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)
SMALLEST_VOCABULARY = 2 * 256 + 2
CLEANING = """    mended = (html.unescape(html.unescape(ftfy.fix_text(text))) for text in texts)
    texts = [" ".join(text.split()).lower() for text in mended]"""  # As cleaning.py does.
# A pair seen once teaches nothing that another caption could use.
LEAST_PAIR_COUNT = 2


@dataclass(frozen=True)
class Bpe(Tokenizer):
    """A vocabulary in CLIP's form. Whether captions are cleaned is not in its file: its kind says
    it."""

    backend: tokenizers.Tokenizer
    file = FILE

    @classmethod
    def load(cls, folder: Path) -> Self:
        """AligngapError if missing, corrupt or of another form."""
        path = folder / FILE
        try:
            return cls.from_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise AligngapError(f"cannot read the tokenizer {path}: {error.strerror}") from error
        except Exception as error:  # the library raises nothing more specific for a broken file
            raise AligngapError(f"{path} is no tokenizer of CLIP's form: {error}") from error

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises whatever the library raises for text that it cannot read, else ValueError."""
        if json_text.value(text)["model"].get("continuing_subword_prefix"):
            raise ValueError("its tokens have a prefix")  # At which the library may panic.
        tokenizer = cls(tokenizers.Tokenizer.from_str(text))
        backend = tokenizer.backend
        if sorted(backend.get_vocab().values()) != [*range(tokenizer.vocab_size)]:
            raise ValueError("its ids are not those from 0 on, each once")
        last = (backend.token_to_id(START), backend.token_to_id(END))
        if last != (tokenizer.start_id, tokenizer.end_id):
            raise ValueError("start and end of text are not its last two tokens")
        return tokenizer

    @classmethod
    def like(cls, other: Tokenizer) -> Tokenizer | None:
        return cls(other.backend) if isinstance(other, Bpe) else None

    @classmethod
    def problems(cls, name: str, text: ConfigDict) -> Iterator[str]:
        if text.pooling == "end_of_text" and text.vocab_size < SMALLEST_VOCABULARY:
            yield (
                f"model.text.vocab_size={text.vocab_size} must be at least {SMALLEST_VOCABULARY}: "
                "every byte inside and at the end of a word, start and end of text"
            )
        yield from super().problems(name, text)

    def __post_init__(self) -> None:
        # Captions come from strangers: "<|endoftext|>" in one is text, not the end of the caption.
        # The library saves this switch neither in its file nor in a pickle.
        self.backend.encode_special_tokens = True

    def __reduce__(self) -> tuple[object, ...]:
        return type(self).from_json, (self.backend.to_str(),)

    @property
    def vocab_size(self) -> int:
        """Number of tokens, start and end of text included."""
        return self.backend.get_vocab_size()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that ids depend on."""
        return hashlib.sha256(repr((self.backend.to_str(), self.cleans)).encode()).hexdigest()

    @property
    def start_id(self) -> int:
        """The id of start of text, the second highest."""
        return self.vocab_size - 2

    @property
    def end_id(self) -> int:
        """The id of end of text, the highest; also what pads."""
        return self.vocab_size - 1

    def encode(self, texts: Sequence[str], context_length: int) -> Int32[np.ndarray, "N L"]:
        """Start, the text's tokens, end, padded with end; a long text loses its tail, not its end.

        The first end of text is where pooling looks: argmax takes the first of equal maxima.
        """
        if context_length < 2:
            raise UsageError(f"context_length is {context_length}; start and end of text need 2")
        ids = np.full((len(texts), context_length), self.end_id, np.int32)
        ids[:, 0] = self.start_id
        for row, text in zip(ids, self._words(texts), strict=True):
            kept = text[: context_length - 2]
            row[1 : 1 + len(kept)] = kept
        return ids

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The normalised text of one row of `encode`, a space after each word."""
        row = [int(i) for i in ids if i < self.start_id]
        return self.backend.decode(row).replace(WORD_END, " ").strip()

    def save(self, folder: Path) -> None:
        """Writes folder/tokenizer.json, whole or not at all; AligngapError where it cannot."""
        partial = folder / f".{FILE}.partial"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            partial.write_text(self.backend.to_str(pretty=True), encoding="utf-8")
            partial.replace(folder / FILE)
        except OSError as error:
            raise AligngapError(f"cannot write {folder / FILE}: {error.strerror}") from error

    def for_transformers(self, context_length: int) -> Mapping[str, str]:
        """What CLIPTokenizer wants, also of older versions."""
        model = json.loads(self.backend.to_str())["model"]
        merges = "".join(f"{left} {right}\n" for left, right in model["merges"])
        special = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
        settings = special | {
            "tokenizer_class": "CLIPTokenizer",
            "model_max_length": context_length,
            "split_special_tokens": True,  # "<|endoftext|>" in a caption is text, as it is here.
        }
        return {
            "merges.txt": "#version: 0.2\n" + merges,
            "vocab.json": json.dumps(model["vocab"], ensure_ascii=False),
            "tokenizer_config.json": atomic.as_json(settings),
            "special_tokens_map.json": atomic.as_json(special),
        }

    def settings(self) -> dict[str, Any]:
        return {"start_id": self.start_id, "tokenizer": self.file, "cleaned": self.cleans}

    def snippet(self, context_length: int) -> Snippet:
        setup = f"""from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("{FILE}")
tokenizer.encode_special_tokens = True  # "{END}" in a text is text.
tokenizer.enable_truncation({context_length})
tokenizer.enable_padding(length={context_length}, pad_id={self.padding_id})"""
        head, ids = "def ids_of(texts):", "[row.ids for row in tokenizer.encode_batch(texts)]"
        last = f"    return np.array({ids}, np.int32)"
        if not self.cleans:
            return Snippet("tokenizers", "", setup, f"{head}\n{last}")
        function = f"{head}\n{CLEANING}\n{last}"
        return Snippet("tokenizers ftfy", "import html\n\nimport ftfy", setup, function)

    def _words(self, texts: Sequence[str]) -> list[list[int]]:
        given = [cleaning.clean(text) for text in texts] if self.cleans else list(texts)
        encodings = self.backend.encode_batch_fast(given, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]


class Trained(Bpe):
    """Learnt from the captions of a run."""

    @classmethod
    def make(cls, captions: Iterable[str], vocab_size: int, data_dir: Path) -> "Trained":
        return train(captions, vocab_size)

    @classmethod
    def read(
        cls, folder: Path, settings: Callable[[], Mapping[str, Any]], pooling: str
    ) -> tuple[Tokenizer | None, str] | None:
        """A model that pools at the last token sees the padding: it must be as it is here."""
        tokenizer = cls._whole(folder) if (folder / FILE).is_file() else cls._of_merges(folder)
        if tokenizer is None:
            return None
        if pooling == "last" and (pad := settings().get("pad_token")) != END:
            why = f"texts are pooled at the last token, and it pads with {pad!r}, not {END!r}"
            return None, why
        return tokenizer, ""

    @classmethod
    def _whole(cls, folder: Path) -> Self | None:
        try:
            return cls.load(folder)
        except AligngapError:  # It has one of another form.
            return None

    @classmethod
    def _of_merges(cls, folder: Path) -> Self | None:
        """Of merges.txt, which older versions of transformers wrote beside vocab.json alone."""
        path = folder / "merges.txt"
        if not path.is_file():
            return None
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
            pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
            if not all(len(pair) == 2 for pair in pairs):
                raise ValueError("expected two tokens a line")
            return cls(backend_of([(left, right) for left, right in pairs]))
        except Exception as error:  # The library has no other for a merge of unknown tokens.
            raise AligngapError(f"{path} is no list of merges: {error}") from error


def train(captions: Iterable[str], vocab_size: int) -> Trained:
    """Learns the merges of at most `vocab_size` tokens (514 of them are always there).

    The captions' order does not matter. Captions with too few repeated pairs give fewer tokens.
    """
    if vocab_size < SMALLEST_VOCABULARY:
        raise UsageError(
            f"vocab_size is {vocab_size}; bytes and specials alone are {SMALLEST_VOCABULARY}"
        )
    learner = backend_of([])
    # Given as special tokens, the bytes keep these ids. Left to the trainer, those of the word ends
    # follow a hash map's order, ties between equally frequent pairs fall to the lower id, and two
    # runs learn different merges.
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 2,
        min_frequency=LEAST_PAIR_COUNT,
        special_tokens=_bytes(),
        end_of_word_suffix=WORD_END,
        show_progress=False,
    )
    learner.train_from_iterator(captions, trainer)
    merges = json.loads(learner.to_str())["model"]["merges"]
    return Trained(backend_of([(left, right) for left, right in merges]))


def backend_of(merges: Sequence[tuple[str, str]]) -> tokenizers.Tokenizer:
    """The vocabulary of these merges, in order of their rank; CLIP's 48,894 give its 49,408 ids."""
    tokens = dict.fromkeys([*_bytes(), *(left + right for left, right in merges), START, END])
    vocabulary = {token: i for i, token in enumerate(tokens)}
    backend = tokenizers.Tokenizer(
        models.BPE(vocabulary, list(merges), unk_token=END, end_of_word_suffix=WORD_END)
    )
    backend.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace(tokenizers.Regex(r"\s+"), " "),
            normalizers.Lowercase(),
        ]
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    # Not used by `encode`: they make the file whole for other programs that read it.
    backend.add_special_tokens([START, END])
    backend.post_processor = processors.RobertaProcessing(
        (END, vocabulary[END]),
        (START, vocabulary[START]),
        trim_offsets=False,
        add_prefix_space=False,
    )
    return backend


def _bytes() -> list[str]:
    """The 256 bytes in CLIP's order and spelling, then each as the end of a word.

    Printable bytes come first under their Latin-1 characters, the others under those from U+0100.
    """
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(0xAE, 0x100),
    ]
    others = range(256 - len(printable))
    spelled = [chr(code) for code in printable] + [chr(256 + i) for i in others]
    return spelled + [character + WORD_END for character in spelled]
