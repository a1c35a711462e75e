"""Images and texts → L2-normalised embeddings, in order, in batches of one fixed shape."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, UInt8
from ml_collections import ConfigDict

from aligngap.data import images
from aligngap.data.splits import Split
from aligngap.data.tokenizer import Tokenizer
from aligngap.models.dual_encoder import DualEncoder
from aligngap.parallel import mesh as meshes


class Embedder:
    """Both encoders of a model, jitted once; the parameters come with each call.

    Every batch is padded to `evaluation.batch_size`, so that nothing is compiled twice.
    """

    def __init__(
        self, config: ConfigDict, model: DualEncoder, tokenizer: Tokenizer, mesh: Mesh
    ) -> None:
        self._config, self._tokenizer, self._mesh = config, tokenizer, mesh
        parts = mesh.shape["data"] * mesh.shape["fsdp"]
        self._batch = -(-config.evaluation.batch_size // parts) * parts
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
        return self._run(self._encode_image, params, pixels)

    def texts(self, params: Any, texts: Sequence[str]) -> Float[np.ndarray, "C D"]:
        """Captions, any number of them."""
        ids = self._tokenizer.encode(texts, self._config.model.text.context_length)
        return self._run(self._encode_text, params, ids)

    def split(
        self, params: Any, split: Split
    ) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "C D"]]:
        """The images of a split and the captions of its concepts."""
        pixels = split.pixels(self._config.model.image.size)
        return self.images(params, pixels), self.texts(params, split.captions)

    def _run(
        self, encode: Callable[..., jax.Array], params: Any, rows: Iterable[np.ndarray]
    ) -> Float[np.ndarray, "N D"]:
        done, stream = [], iter(rows)
        while batch := list(itertools.islice(stream, self._batch)):
            padded = np.zeros((self._batch, *batch[0].shape), batch[0].dtype)
            padded[: len(batch)] = batch
            with jax.set_mesh(self._mesh):
                placed = jax.device_put(padded, meshes.batch_sharding(self._mesh))
                done.append(np.asarray(encode(params, placed))[: len(batch)])
        return np.concatenate(done) if done else np.zeros((0, self._config.model.embed_dim))
