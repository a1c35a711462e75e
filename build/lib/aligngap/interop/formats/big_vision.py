"""big_vision's two towers, as SigLIP's .npz files hold them.

Names: google-research/big_vision, models/vit.py and models/proj/image_text/.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from aligngap.config import MODALITIES
from aligngap.interop import mapping
from aligngap.interop.formats import parts
from aligngap.interop.mapping import Line, Rule
from aligngap.presets import SIGLIP_TOWERS

QKV = ("query", "key", "value")
ATTENTION = "MultiHeadDotProductAttention_0"
IMAGE, TEXT = "img/Transformer/", "txt/Encoder_0/"


def _norm(ours: str, theirs: str) -> tuple[Line, ...]:
    return tuple((f"{ours}/{p}", f"{theirs}/{p}", "width -> width") for p in ("scale", "bias"))


# A block, or the pooling head: both have attention, a norm and an MLP under the same names.
_ATTENTION: tuple[Line, ...] = (
    ("qkv/kernel", f"{ATTENTION}/{{qkv}}/kernel", "qkv width head dim -> width qkv head dim"),
    ("qkv/bias", f"{ATTENTION}/{{qkv}}/bias", "qkv head dim -> qkv head dim"),
    ("output/kernel", f"{ATTENTION}/out/kernel", "head dim width -> head dim width"),
    ("output/bias", f"{ATTENTION}/out/bias", "width -> width"),
)
_MLP: tuple[Line, ...] = (
    ("mlp/hidden/kernel", "MlpBlock_0/Dense_0/kernel", "width hidden -> width hidden"),
    ("mlp/hidden/bias", "MlpBlock_0/Dense_0/bias", "hidden -> hidden"),
    ("mlp/output/kernel", "MlpBlock_0/Dense_1/kernel", "hidden width -> hidden width"),
    ("mlp/output/bias", "MlpBlock_0/Dense_1/bias", "width -> width"),
)
BLOCK: tuple[Line, ...] = (
    *_norm("attention_norm", "LayerNorm_0"),
    *((f"attention/{ours}", theirs, layout) for ours, theirs, layout in _ATTENTION),
    *_norm("mlp_norm", "LayerNorm_1"),
    *_MLP,
)
POOLING: tuple[Line, ...] = (
    ("query_token", "probe", "1 1 width -> width"),
    *_ATTENTION,
    *_norm("mlp_norm", "LayerNorm_0"),
    *_MLP,
)
IMAGE_INPUT: tuple[Line, ...] = (
    (
        "patch_kernel",
        "embedding/kernel",
        "row column channel width -> (row column channel) width",
    ),
    ("patch_bias", "embedding/bias", "width -> width"),
    ("positions", "pos_embedding", "1 length width -> length width"),
)
TEXT_INPUT: tuple[Line, ...] = (
    ("tokens/embedding", "Embed_0/embedding", "vocabulary width -> vocabulary width"),
    ("positions", "pos_embedding", "1 length width -> length width"),
)
HEAD: tuple[Line, ...] = (
    ("kernel", "kernel", "width embedding -> width embedding"),
    ("bias", "bias", "embedding -> embedding"),
)


def rules(model: ConfigDict, *, scanned: Mapping[str, bool]) -> list[Rule]:
    """Of the parameters below "params/". A scanned tower's blocks are stacked in the file."""
    found: list[Rule] = []
    axes = {m: mapping.axes(model[m], QKV) for m in MODALITIES}
    for modality, theirs in (("image", IMAGE), ("text", TEXT)):
        ours, tower = parts.transformer(model, modality), axes[modality]
        name = "encoderblock/" if scanned[modality] else "encoderblock_{layer}/"
        lines = [_layered(line, scanned[modality]) for line in BLOCK]
        found += tower.rules(lines, f"{ours}blocks/", theirs + name)
        found += tower.rules(_norm("final_norm", "encoder_norm"), ours, theirs)
    image, text = axes["image"], axes["text"]
    found += image.rules(IMAGE_INPUT, "image_input/", "img/")
    found += image.rules(POOLING, "image_pooling/", "img/MAPHead_0/")
    found += text.rules(TEXT_INPUT, "text_input/", "txt/")
    heads = {"image": "img/head/", "text": "txt/head/"}
    for modality, theirs in heads.items():
        if model[modality].projection == "affine":
            found += axes[modality].rules(HEAD, parts.projection(model, modality), theirs)
    return [*found, *image.rules([("logit_scale", "t", "1 -> "), ("logit_bias", "b", "1 -> ")])]


def from_shapes(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Fields of config.model: all but SigLIP's activation and epsilon is in the shapes."""
    side, _, _, width = tensors["img/embedding/kernel"].shape
    grid = math.isqrt(tensors["img/pos_embedding"].shape[1])
    vocabulary, text_width = tensors["txt/Embed_0/embedding"].shape
    projected = "img/head/kernel" in tensors
    return SIGLIP_TOWERS | {
        "embed_dim": tensors["txt/head/bias"].shape[0],
        "logit_bias": True,
        "image.projection": "affine" if projected else "none",
        "image.patch_size": side,
        "image.size": side * grid,
        "text.vocab_size": vocabulary,
        "text.context_length": tensors["txt/pos_embedding"].shape[1],
        **_tower("image", tensors, IMAGE, width),
        **_tower("text", tensors, TEXT, text_width),
    }


def scanned(tensors: Mapping[str, np.ndarray]) -> dict[str, bool]:
    """Whether the blocks of each tower are stacked in the file."""
    return {
        modality: f"{prefix}encoderblock/LayerNorm_0/scale" in tensors
        for modality, prefix in (("image", IMAGE), ("text", TEXT))
    }


def below_params(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The parameters of a file that may hold an optimiser's state beside them."""
    prefix = "params/"
    inside = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    return inside or dict(tensors)


def _layered(line: Line, scanned: bool) -> Line:
    """The line with a layer axis, where stacking puts it on their side."""
    ours, theirs, layout = line
    left, right = layout.split(" -> ")
    inner = scanned and left.startswith("qkv ")  # The qkv brace is stacked in front of the file's.
    left = f"qkv layer {left.removeprefix('qkv ')}" if inner else f"layer {left}"
    return ours, theirs, f"{left} -> layer {right}"


def _tower(
    modality: str, tensors: Mapping[str, np.ndarray], prefix: str, width: int
) -> dict[str, Any]:
    names = {name.removeprefix(prefix).split("/")[0] for name in tensors if name.startswith(prefix)}
    stacked = "encoderblock" in names
    first = f"{prefix}encoderblock/" if stacked else f"{prefix}encoderblock_0/"
    hidden = tensors[f"{first}MlpBlock_0/Dense_0/bias"]
    heads = tensors[f"{first}{ATTENTION}/query/bias"].shape[-2]
    blocks = sum(name.startswith("encoderblock_") for name in names)
    return {
        f"{modality}.width": width,
        f"{modality}.heads": heads,
        f"{modality}.layers": len(hidden) if stacked else blocks,
        f"{modality}.mlp_ratio": hidden.shape[-1] / width,
    }
