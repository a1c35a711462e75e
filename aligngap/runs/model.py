"""A model to look at: its parameters without an optimiser or a corpus."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float
from ml_collections import ConfigDict
from PIL import Image

from aligngap.data import images, tokenizers
from aligngap.data.images import AnyImage
from aligngap.data.tokenizers.tokenizer import Tokenizer
from aligngap.errors import AligngapError, UsageError
from aligngap.models import dual_encoder, parameters
from aligngap.models.dual_encoder import DualEncoder
from aligngap.parallel import mesh as meshes
from aligngap.runs import workdir
from aligngap.runs.checkpoints import Checkpoints
from aligngap.runs.embedder import Embedder


@dataclass(frozen=True)
class Model:
    """A trained or an imported model. `encode_*` need no mesh in force and pad by themselves."""

    config: ConfigDict
    folder: Path
    step: int  # 0: it came trained.
    mesh: Mesh
    module: DualEncoder
    params: Any
    tokenizer: Tokenizer | None  # None: imported without one.

    @cached_property
    def embedder(self) -> Embedder:
        """Both encoders, compiled once; parameters come with each call."""
        return Embedder(self.config, self.module, self.tokenizer, self.mesh)

    def encode_image(self, given: Iterable[AnyImage]) -> Float[np.ndarray, "N D"]:
        """L2-normalised float32 rows of paths, PIL images or uint8 arrays [H, W(, 1, 3 or 4)].

        AligngapError names an image that cannot be decoded, or for one that is in no list.
        """
        every = _several(given)
        size, how = self.config.model.image.size, self.config.data.resize
        read = lambda row: images.RESIZES[how](images.opened(every[row]), size)  # noqa: E731
        return self.embedder.images(self.params, read, len(every))

    def encode_text(self, texts: Iterable[str]) -> Float[np.ndarray, "N D"]:
        """L2-normalised float32 rows; AligngapError for a model without tokenizer, for one text,
        and for what is none."""
        every = _several(texts)
        for row, text in enumerate(every):
            if not isinstance(text, str):
                raise UsageError(f"text {row} is a {type(text).__name__}; expected a string")
        return self.embedder.texts(self.params, every)

    def __repr__(self) -> str:
        """Without its parameters, of which a notebook would print page after page."""
        return f"Model({str(self.folder)!r}, step={self.step})"


def _several(given: Iterable[Any]) -> list[Any]:
    """In their order, which is not that of an index that they have (pandas). AligngapError for one
    alone: a string's letters would be texts or paths of their own, an array's rows images."""
    array = isinstance(given, np.ndarray) and images.is_image(given)
    if array or isinstance(given, str | Path | Image.Image):
        one = repr(str(given)) if isinstance(given, str | Path) else "image"
        raise AligngapError(f"{one} is one alone; expected a list: write [{one}]")
    return list(given)


def open_run(folder: Path, step: int | None = None) -> Model:
    """The model of a trained or imported workdir at a step (the newest), on all devices there are.

    AligngapError for a folder without run, and for a step that is not kept.
    """
    config = workdir.read_config(folder)
    config.mesh.update(data=-1, fsdp=1, tensor=1)
    mesh, module = meshes.make(config), dual_encoder.make(config)
    with Checkpoints(folder, config) as checkpoints:
        step = checkpoints.choose(step)
        found = restore_params(config, module, mesh, checkpoints, step)
    path = folder / "tokenizer"
    tokenizer = tokenizers.reopen(config, path) if tokenizers.held(config, path) else None
    return Model(config, folder, step, mesh, module, found, tokenizer)


def restore_params(
    config: ConfigDict, module: DualEncoder, mesh: Mesh, checkpoints: Checkpoints, step: int
) -> Any:
    """The parameters that evaluation uses: the averaged ones of a run that averages."""
    abstract = parameters.abstract(config, module)
    averaged = bool(config.optimizer.ema_decay)
    shardings = meshes.shardings(abstract, mesh)
    return checkpoints.restore_params(step, abstract, shardings, averaged=averaged)
