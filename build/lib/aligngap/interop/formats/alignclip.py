"""Checkpoints of AlignCLIP's own code: one transformer, one norm and one projection for both.

Names: sarahESL/AlignCLIP, align_clip/model.py and transformer.py.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from aligngap.config import MODALITIES
from aligngap.interop import mapping
from aligngap.interop.formats import open_clip
from aligngap.interop.formats.huggingface import NORM
from aligngap.interop.mapping import Rule

UNUSED = "text.text_projection"  # No forward pass reads it: it is as it was initialised.


def rules(model: ConfigDict) -> list[Rule]:
    """Of a state dict from which `UNUSED` has been taken."""
    image, text = mapping.axes(model.image), mapping.axes(model.text)
    image_input = open_clip.IMAGE_INPUT + open_clip.INPUT_NORM
    return [
        *image.rules(image_input, "image_input/", "visual."),
        *text.rules(open_clip.TEXT_INPUT, "text_input/", "text."),
        *image.rules(open_clip.BLOCKS, "transformer/blocks/", "transformer.resblocks.{layer}."),
        *image.rules(NORM, "transformer/final_norm/", "ln_post."),
        *image.rules([("kernel", "projection", open_clip.PRODUCT)], "projection/"),
        *image.rules([("logit_scale", "logit_scale", " -> ")]),
    ]


def from_shapes(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Fields of config.model that the shapes tell; heads are taken as 64 wide."""
    width, embed_dim = tensors["projection"].shape
    towers = (
        open_clip.transformer_shapes(modality, tensors, "transformer.resblocks.", width)
        for modality in MODALITIES
    )
    image, text = towers
    return (
        open_clip.image_shapes(tensors)
        | image
        | text
        | {
            "tie": "transformer+projection",
            "embed_dim": embed_dim,
            "text.context_length": len(tensors["text.positional_embedding"]),
            "text.vocab_size": len(tensors["text.token_embedding.weight"]),
        }
    )


def used(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors that its forward pass reads."""
    buffers = {UNUSED, "attn_mask", "text.attn_mask"}
    return {name: array for name, array in tensors.items() if name not in buffers}
