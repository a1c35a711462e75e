"""aligngap: measure, explain and close the modality gap of CLIP-style models."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aligngap.runs.model import Model


def load(folder: str | Path, step: int | None = None) -> "Model":
    """The model of a trained run, an import, or a folder of transformers or open_clip, or one that
    comes with aligngap, by its name: `aligngap.load("clip-pictograms")`.

    `model.encode_image(paths | PIL images | uint8 arrays)` and `model.encode_text(strings)` return
    L2-normalised float32 rows [N, D]. AligngapError for a folder that holds no model, and
    without aligngap[train].
    """
    from aligngap import extras

    extras.need_train("aligngap.load")
    from aligngap.interop import opening  # JAX takes a second to import.

    return opening.load(folder, step)
