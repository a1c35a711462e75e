"""Images and texts → L2-normalised embeddings, in order, in batches of one fixed shape."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int32, UInt8
from ml_collections import ConfigDict

from aligngap import devices
from aligngap.data.tokenizers.tokenizer import Tokenizer
from aligngap.errors import AligngapError
from aligngap.models import towers
from aligngap.models.dual_encoder import DualEncoder
from aligngap.parallel import mesh as meshes


@dataclass(frozen=True)
class Part:
    """What this process holds of a batch of `count` rows: those of `Embedder.own_rows(count)`."""

    rows: np.ndarray
    count: int


class Embedder:
    """Both encoders of a model, jitted once; the parameters come with each call.

    Every batch is padded to `batch` rows (`evaluation.batch_size`, rounded up to what the devices
    divide), so that nothing is compiled twice. Of several processes each makes its own rows, by the
    helpers that training uses, and all of them get all embeddings.
    """

    def __init__(
        self, config: ConfigDict, module: DualEncoder, tokenizer: Tokenizer | None, mesh: Mesh
    ) -> None:
        self._config, self._tokenizer, self._mesh = config, tokenizer, mesh
        parts = meshes.groups(mesh)
        self.batch = -(-config.evaluation.batch_size // parts) * parts
        self._own = meshes.own_rows(self.batch, mesh)
        mean, std = config.data.mean, config.data.std

        def encode_image(params: Any, pixels: jax.Array) -> jax.Array:
            pixels = towers.normalise(pixels, mean, std)
            return module.apply({"params": params}, pixels, method="encode_image")

        def encode_text(params: Any, ids: jax.Array) -> jax.Array:
            return module.apply({"params": params}, ids, method="encode_text")

        # A copy on every device, and so on every process, whoever computed it.
        out = meshes.replicated(mesh)
        self._encode_image = jax.jit(meshes.with_rules(encode_image), out_shardings=out)
        self._encode_text = jax.jit(meshes.with_rules(encode_text), out_shardings=out)

    def own_rows(self, count: int) -> list[int]:
        """Which of a batch's first `count` rows this process makes; the others are others'."""
        return [row for row in self._own if row < count]

    def images(
        self, params: Any, read: Callable[[int], UInt8[np.ndarray, "R R 3"]], count: int
    ) -> Float[np.ndarray, "N D"]:
        """Images 0 to `count` − 1 of the model's size, each read by one process."""
        return self._joined(self.image_batches(params, self.image_parts(read, count)))

    def texts(self, params: Any, texts: Sequence[str]) -> Float[np.ndarray, "C D"]:
        """Captions, any number of them."""
        batches = (texts[first : first + self.batch] for first in range(0, len(texts), self.batch))
        return self._joined(self.text_batches(params, map(self.text_part, batches)))

    def image_parts(
        self, read: Callable[[int], UInt8[np.ndarray, "R R 3"]], count: int
    ) -> Iterator[Part]:
        """The batches of `count` images; this process reads its own rows of each."""
        size = self._config.model.image.size
        for first in range(0, count, self.batch):
            held = min(self.batch, count - first)
            own = [read(first + row) for row in self.own_rows(held)]
            yield Part(np.stack(own) if own else np.zeros((0, size, size, 3), np.uint8), held)

    def text_part(self, texts: Sequence[str]) -> Part:
        """At most `batch` texts, this process's own as the model reads them."""
        own = [texts[row] for row in self.own_rows(len(texts))]
        return Part(self.tokens(own), len(texts))

    def tokens(self, texts: Sequence[str]) -> Int32[np.ndarray, "C L"]:
        """Captions as the model reads them; AligngapError for a model that has no tokenizer."""
        if self._tokenizer is None:
            raise AligngapError("this model was imported without a tokenizer: it can embed no text")
        return self._tokenizer.encode(texts, self._config.model.text.context_length)

    def image_batches(
        self, params: Any, parts: Iterable[Part]
    ) -> Iterator[Float[np.ndarray, "n D"]]:
        """The embeddings of each batch of at most `batch` images, while the next is prepared."""
        return self._stream(self._encode_image, params, parts)

    def text_batches(
        self, params: Any, parts: Iterable[Part]
    ) -> Iterator[Float[np.ndarray, "n D"]]:
        """The embeddings of each batch of at most `batch` rows of tokens."""
        return self._stream(self._encode_text, params, parts)

    def _stream(
        self, encode: Callable[..., jax.Array], params: Any, parts: Iterable[Part]
    ) -> Iterator[Float[np.ndarray, "n D"]]:
        """Fetched one batch late: the device works while the host prepares and writes."""
        waiting: list[tuple[jax.Array, int]] = []
        for part in parts:
            padded = np.zeros((len(self._own), *part.rows.shape[1:]), part.rows.dtype)
            padded[: len(part.rows)] = part.rows
            with jax.set_mesh(self._mesh):
                placed = meshes.global_batch({"rows": padded}, self.batch, self._mesh)["rows"]
                waiting.append((encode(params, placed), part.count))
            if len(waiting) > devices.steps_ahead():
                yield _taken(*waiting.pop(0))
        for found in waiting:
            yield _taken(*found)

    def _joined(self, batches: Iterator[np.ndarray]) -> Float[np.ndarray, "N D"]:
        return np.concatenate([np.zeros((0, self._config.model.embed_dim), np.float32), *batches])


def _taken(rows: jax.Array, count: int) -> Float[np.ndarray, "n D"]:
    """The rows off the device, without those of the padding."""
    return np.asarray(rows)[:count]
