"""Images and texts → L2-normalised embeddings, in order, in batches of one fixed shape."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int32, UInt8
from ml_collections import ConfigDict

from aligngap.data import images
from aligngap.data.splits import Split
from aligngap.data.vocabulary import AnyTokenizer
from aligngap.errors import AligngapError
from aligngap.models.dual_encoder import DualEncoder
from aligngap.parallel import mesh as meshes


class Embedder:
    """Both encoders of a model, jitted once; the parameters come with each call.

    Every batch is padded to `batch` rows (`evaluation.batch_size`, rounded up to what the devices
    divide), so that nothing is compiled twice.
    """

    def __init__(
        self, config: ConfigDict, model: DualEncoder, tokenizer: AnyTokenizer | None, mesh: Mesh
    ) -> None:
        self._config, self._tokenizer, self._mesh = config, tokenizer, mesh
        parts = mesh.shape["data"] * mesh.shape["fsdp"]
        self.batch = -(-config.evaluation.batch_size // parts) * parts
        mean, std = config.data.mean, config.data.std

        def encode_image(params: Any, pixels: jax.Array) -> jax.Array:
            pixels = images.normalise(pixels, mean, std)
            return model.apply({"params": params}, pixels, method="encode_image")

        def encode_text(params: Any, ids: jax.Array) -> jax.Array:
            return model.apply({"params": params}, ids, method="encode_text")

        # A copy on every device, and so on every process, whoever computed it.
        out = meshes.replicated(mesh)
        self._encode_image = jax.jit(meshes.with_rules(encode_image), out_shardings=out)
        self._encode_text = jax.jit(meshes.with_rules(encode_text), out_shardings=out)

    def images(
        self, params: Any, pixels: Iterable[UInt8[np.ndarray, "R R 3"]]
    ) -> Float[np.ndarray, "N D"]:
        """Images of the model's size, any number of them."""
        return self._joined(self.image_batches(params, self.batches(pixels)))

    def texts(self, params: Any, texts: Sequence[str]) -> Float[np.ndarray, "C D"]:
        """Captions, any number of them."""
        return self._joined(self.text_batches(params, self.batches(self.tokens(texts))))

    def split(
        self, params: Any, split: Split
    ) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "C D"]]:
        """The images of a split and the captions of its concepts."""
        pixels = split.pixels(self._config.model.image.size, self._config.data.resize)
        return self.images(params, pixels), self.texts(params, split.captions)

    def tokens(self, texts: Sequence[str]) -> Int32[np.ndarray, "C L"]:
        """Captions as the model reads them; AligngapError for a model that has no tokenizer."""
        if self._tokenizer is None:
            raise AligngapError("this model was imported without a tokenizer: it can embed no text")
        return self._tokenizer.encode(texts, self._config.model.text.context_length)

    def batches(self, rows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Rows, any number of them, stacked `batch` at a time."""
        stream = iter(rows)
        while batch := list(itertools.islice(stream, self.batch)):
            yield np.stack(batch)

    def image_batches(
        self, params: Any, batches: Iterable[UInt8[np.ndarray, "n R R 3"]]
    ) -> Iterator[Float[np.ndarray, "n D"]]:
        """The embeddings of each batch of at most `batch` images, while the next is prepared."""
        return self._stream(self._encode_image, params, batches)

    def text_batches(
        self, params: Any, batches: Iterable[Int32[np.ndarray, "n L"]]
    ) -> Iterator[Float[np.ndarray, "n D"]]:
        """The embeddings of each batch of at most `batch` rows of tokens."""
        return self._stream(self._encode_text, params, batches)

    def _stream(
        self, encode: Callable[..., jax.Array], params: Any, batches: Iterable[np.ndarray]
    ) -> Iterator[Float[np.ndarray, "n D"]]:
        """Fetched one batch late: the device works while the host prepares and writes."""
        # Several simulated devices of one CPU deadlock when a second batch is dispatched.
        one_at_a_time = jax.default_backend() == "cpu" and jax.device_count() > 1
        waiting: list[tuple[jax.Array, int]] = []
        for batch in batches:
            padded = np.zeros((self.batch, *batch.shape[1:]), batch.dtype)
            padded[: len(batch)] = batch
            with jax.set_mesh(self._mesh):
                placed = jax.device_put(padded, meshes.batch_sharding(self._mesh))
                waiting.append((encode(params, placed), len(batch)))
            if len(waiting) > (0 if one_at_a_time else 1):
                yield _taken(*waiting.pop(0))
        for found in waiting:
            yield _taken(*found)

    def _joined(self, parts: Iterator[np.ndarray]) -> Float[np.ndarray, "N D"]:
        return np.concatenate([np.zeros((0, self._config.model.embed_dim), np.float32), *parts])


def _taken(rows: jax.Array, count: int) -> Float[np.ndarray, "n D"]:
    """The rows off the device, without those of the padding."""
    return np.asarray(rows)[:count]
