"""The frozen sentence encoder, which says how alike two captions are: texts → embeddings.

Its embeddings re-scale the intra-modality separation loss. torch is not needed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import tokenizers
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Float32, Int, Int32

from aligngap.data import bert, sentence_models
from aligngap.data.bert import Bert, Params
from aligngap.data.sentence_models import ABSENT

SHORTEST = 8  # Tokens a padded text has at least.
# Padded tokens at a time: on a CPU what its caches like, elsewhere what a device has memory for.
CPU_TOKENS, DEVICE_TOKENS = 2048, 65_536


@dataclass(frozen=True)
class SentenceEncoder:
    """Parameters and tokenizer of a frozen encoder; make one with `load`."""

    name: str
    digest: str  # Of all that its embeddings are made of.
    module: Bert
    params: Params
    tokenizer: tokenizers.Tokenizer
    lengths: tuple[int, ...]  # Texts are padded to one of these; the last is the limit.

    @property
    def width(self) -> int:
        """S, the numbers of an embedding."""
        return self.module.shape.hidden_size

    def embed(
        self, texts: Sequence[str], batch_tokens: int | None = None
    ) -> Float32[np.ndarray, "N S"]:
        """One L2-normalised row per text, in the texts' order, on all devices of this process.

        Each distinct text is embedded once, beside others of about its length; the result does not
        depend on the order of `texts`. `batch_tokens` bounds memory: padded tokens at a time.
        """
        distinct = sorted(set(texts))
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch(distinct)]
        embedded = np.zeros((len(distinct), self.width), np.float32)
        batches = _batches(ids, self.lengths, batch_tokens or _tokens_at_a_time())
        # All are started before the first is read, so that devices never wait for this process.
        started = [(batch.texts, self._forward(batch.ids)) for batch in batches]
        for numbers, rows in started:
            embedded[numbers] = np.asarray(rows)[: len(numbers)]
        index = {text: i for i, text in enumerate(distinct)}
        return embedded[[index[text] for text in texts]]

    def _forward(self, ids: Int32[np.ndarray, "B L"]) -> Float[Array, "B S"]:
        return _embed(self.module, self.params, jax.device_put(ids, _layouts()[0]))


def load(name: str, data_dir: Path) -> SentenceEncoder:
    """That of "minilm", fetched under `data_dir` unless it is there, or of a folder of
    sentence-transformers; AligngapError in a line for one that is no BERT."""
    model = sentence_models.read(name, data_dir)
    module, tokenizer = Bert(model.shape, model.pooling), model.tokenizer(model.max_tokens)
    params = jax.device_put(bert.parameters(name, module, model.tensors()), _layouts()[1])
    return SentenceEncoder(name, model.digest, module, params, tokenizer, lengths(model.max_tokens))


def lengths(max_tokens: int) -> tuple[int, ...]:
    """Doubling up to the limit: each is one compilation, and most captions fit the first."""
    steps = [SHORTEST << i for i in range(max_tokens.bit_length())]
    return (*(step for step in steps if step < max_tokens), max_tokens)


@partial(jax.jit, static_argnums=0)
def _embed(module: Bert, params: Params, ids: Int[Array, "B L"]) -> Float[Array, "B S"]:
    return module.embed(params, ids)


def _layouts() -> tuple[NamedSharding, NamedSharding]:
    """Split by rows over this process's devices, and whole on each of them."""
    mesh = Mesh(np.array(jax.local_devices()), ("rows",))
    return NamedSharding(mesh, PartitionSpec("rows")), NamedSharding(mesh, PartitionSpec())


def _tokens_at_a_time() -> int:
    cpu = jax.default_backend() == "cpu"
    return CPU_TOKENS if cpu else DEVICE_TOKENS * jax.local_device_count()


class _Batch(NamedTuple):
    texts: list[int]  # Which texts the first rows are; any further rows only fill the shape.
    ids: Int32[np.ndarray, "B L"]  # ABSENT behind a text's end.


def _batches(
    ids: Sequence[Sequence[int]], lengths: Sequence[int], batch_tokens: int
) -> Iterator[_Batch]:
    """All texts, those of one padded length together, in as few shapes as there are lengths."""
    shorter, devices = 0, jax.local_device_count()
    for length in lengths:
        bucket = [i for i, row in enumerate(ids) if shorter < len(row) <= length]
        rows = -(-max(1, batch_tokens // length) // devices) * devices
        for start in range(0, len(bucket), rows):
            yield _pad(bucket[start : start + rows], ids, rows, length)
        shorter = length


def _pad(texts: list[int], ids: Sequence[Sequence[int]], rows: int, length: int) -> _Batch:
    batch = _Batch(texts, np.full((rows, length), ABSENT, np.int32))
    batch.ids[:, 0] = 0  # A row without a token would have no mean.
    for row, i in enumerate(texts):
        batch.ids[row, : len(ids[i])] = ids[i]
    return batch
