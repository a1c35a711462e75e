"""A model under evaluation: its splits are read once, and embedded once for any parameters."""

import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, UInt8
from ml_collections import ConfigDict
from PIL.Image import Image

from aligngap.data import corpora, eval_set, images
from aligngap.data.corpus import Corpus
from aligngap.data.eval_set import EvalSet
from aligngap.data.tokenizers.tokenizer import Tokenizer
from aligngap.models.dual_encoder import DualEncoder
from aligngap.runs.embedder import Embedder

T = TypeVar("T")


class Embedded(NamedTuple):
    """L2-normalised embeddings of a split: a row an image, a row a text."""

    image: Float[np.ndarray, "N D"]
    text: Float[np.ndarray, "C D"]


class Subject:
    """What evaluators are built with. `intervals`: whether they say how sure a value is, too."""

    def __init__(
        self,
        config: ConfigDict,
        module: DualEncoder,
        tokenizer: Tokenizer | None,
        mesh: Mesh,
        *,
        intervals: bool,
    ) -> None:
        self.config, self.tokenizer, self.intervals = config, tokenizer, intervals
        self.embedder = Embedder(config, module, tokenizer, mesh)
        self._sets: dict[str, EvalSet] = {}
        self._made: dict[Hashable, tuple[Any, Any]] = {}
        self._clouds: dict[str, list[tuple[Any, Embedded]]] = {}

    @property
    def corpus(self) -> Corpus:
        """The corpus that the model is trained on."""
        return corpora.of(self.config)

    def eval_set(self, split: str) -> EvalSet:
        """The images and texts of a split, read when first asked for."""
        if split not in self._sets:
            self._sets[split] = eval_set.read(self.config, split)
        return self._sets[split]

    def embedded(self, params: Any, split: str) -> Embedded:
        """Its embeddings; the latest of these parameters are kept, so evaluators share them."""
        for held, cloud in self._clouds.get(split, ()):
            if held is params:
                return cloud
        return self.embed(split, [params])[0]

    def embed(
        self, split: str, moments: Sequence[Any], see: Callable[[int, Image], None] | None = None
    ) -> list[Embedded]:
        """The embeddings for several parameters at once: every image is decoded once, by one of the
        processes. `see` is shown the row and the image of each that this one decodes."""
        data = self.eval_set(split)
        size, how = self.config.model.image.size, self.config.data.resize

        def read(row: int) -> UInt8[np.ndarray, "R R 3"]:
            image = data.image(row)
            if see is not None:
                see(row, image)
            return images.RESIZES[how](image, size)

        parts = self.embedder.image_parts(read, len(data.source))
        copies = zip(moments, itertools.tee(parts, len(moments)), strict=True)
        # The moments take turns, so that no pixels are held but those of the batches under way.
        batches = zip(*(self.embedder.image_batches(p, copy) for p, copy in copies), strict=True)
        rows = map(np.concatenate, zip(*batches, strict=True))
        clouds = [
            Embedded(image, self.embedder.texts(params, data.texts))
            for params, image in zip(moments, rows, strict=True)
        ]
        self._clouds[split] = list(zip(moments, clouds, strict=True))
        return clouds

    def made(self, params: Any, key: Hashable, make: Callable[[], T]) -> T:
        """What is made of these parameters and needed again, such as a classifier that several
        splits are measured with; `key` says what it is made of besides."""
        held = self._made.get(key)
        if held is None or held[0] is not params:
            self._made[key] = held = params, make()
        found: T = held[1]
        return found

    def forget(self, split: str = "") -> None:
        """Lets go of parameters, embeddings and what was made of them, or of one split's
        embeddings; what was read of the splits stays."""
        if split:
            self._clouds.pop(split, None)
            return
        self._clouds.clear()
        self._made.clear()
