"""open_clip's CLIP: open_clip_config.json and state dict, both ways. Names: open_clip 3.3."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from aligngap.config import MODALITIES
from aligngap.errors import AligngapError
from aligngap.interop import mapping
from aligngap.interop.formats import parts, resnet
from aligngap.interop.formats.huggingface import AFFINE, NORM
from aligngap.interop.mapping import Line, Rule

HEAD_WIDTH = 64  # Of CLIP's models; no tensor tells it.
BLOCKS: tuple[Line, ...] = (
    ("attention_norm/scale", "ln_1.weight", "layer width -> layer width"),
    ("attention_norm/bias", "ln_1.bias", "layer width -> layer width"),
    (
        "attention/qkv/kernel",
        "attn.in_proj_weight",
        "layer (qkv head dim) width -> layer width qkv head dim",
    ),
    ("attention/qkv/bias", "attn.in_proj_bias", "layer (qkv head dim) -> layer qkv head dim"),
    (
        "attention/output/kernel",
        "attn.out_proj.weight",
        "layer width (head dim) -> layer head dim width",
    ),
    ("attention/output/bias", "attn.out_proj.bias", "layer width -> layer width"),
    ("mlp_norm/scale", "ln_2.weight", "layer width -> layer width"),
    ("mlp_norm/bias", "ln_2.bias", "layer width -> layer width"),
    ("mlp/hidden/kernel", "mlp.c_fc.weight", "layer hidden width -> layer width hidden"),
    ("mlp/hidden/bias", "mlp.c_fc.bias", "layer hidden -> layer hidden"),
    ("mlp/output/kernel", "mlp.c_proj.weight", "layer width hidden -> layer hidden width"),
    ("mlp/output/bias", "mlp.c_proj.bias", "layer width -> layer width"),
)
IMAGE_INPUT: tuple[Line, ...] = (
    (
        "patch_kernel",
        "conv1.weight",
        "width channel row column -> (row column channel) width",
    ),
    ("class_token", "class_embedding", "width -> width"),
    ("positions", "positional_embedding", "length width -> length width"),
)
INPUT_NORM: tuple[Line, ...] = tuple(
    (f"input_norm/{ours}", f"ln_pre.{theirs}", layout) for ours, theirs, layout in NORM
)
TEXT_INPUT: tuple[Line, ...] = (
    ("tokens/embedding", "token_embedding.weight", "vocabulary width -> vocabulary width"),
    ("positions", "positional_embedding", "length width -> length width"),
)
PRODUCT = "width embedding -> width embedding"  # A bare matrix, not a torch Linear.
# What the config of a model that our towers can be leaves at these values (or out).
VISION_ONLY: dict[str, Any] = {"attentional_pool": False, "pool_type": "tok"}
TEXT_ONLY: dict[str, Any] = {"embed_cls": False, "proj_type": "linear", "hf_model_name": None}
BOTH: dict[str, Any] = {
    **{"ls_init_value": None, "block_type": None, "qk_norm": False, "scaled_cosine_attn": False},
    **{"scale_heads": False, "scale_attn_inner": False, "scale_attn": False, "scale_fc": False},
}
TEXT_POOLINGS = {"argmax": "end_of_text", "last": "last"}
# Buffers of old versions that hold no weights.
IGNORED = ("attn_mask", "input_resolution", "context_length", "vocab_size")


def rules(model: ConfigDict) -> list[Rule]:
    """Of a state dict. A tied transformer is read by both towers' rules: it is written twice."""
    image = resnet.rules(model) if model.image.stages else _image_rules(model)
    scalars = ("logit_scale", "logit_bias") if model.logit_bias else ("logit_scale",)
    both = mapping.axes(model.text).rules([(name, name, " -> ") for name in scalars])
    return [*image, *_text_rules(model), *both]


def _image_rules(model: ConfigDict) -> list[Rule]:
    axes, norm = mapping.axes(model.image), INPUT_NORM if model.image.input_norm else ()
    projection = parts.projection(model, "image")
    return [
        *axes.rules(IMAGE_INPUT + norm, "image_input/", "visual."),
        *_transformer_rules(model, "image", "visual.", "visual.ln_post."),
        *axes.rules([("kernel", "proj", PRODUCT)], projection, "visual."),
    ]


def _text_rules(model: ConfigDict) -> list[Rule]:
    axes, projection = mapping.axes(model.text), parts.projection(model, "text")
    affine = axes.rules(AFFINE, projection, "text_projection.")
    linear = axes.rules([("kernel", "text_projection", PRODUCT)], projection)
    return [
        *axes.rules(TEXT_INPUT, "text_input/"),
        *_transformer_rules(model, "text", "", "ln_final."),
        *(affine if model.text.projection == "affine" else linear),
    ]


def _transformer_rules(model: ConfigDict, modality: str, prefix: str, norm: str) -> list[Rule]:
    axes, ours = mapping.axes(model[modality]), parts.transformer(model, modality)
    theirs = f"{prefix}transformer.resblocks.{{layer}}."
    return [
        *axes.rules(BLOCKS, f"{ours}blocks/", theirs),
        *axes.rules(NORM, f"{ours}final_norm/", norm),
    ]


def problems(model: ConfigDict) -> Iterator[str]:
    """Why open_clip has no model like this, a sentence each."""
    wanted = {
        "image.pooling": "class_token",
        "image.patch_bias": False,
        "image.projection": "none" if model.image.stages else "linear",
    }
    for name, value in wanted.items():
        found = model.image[name.partition(".")[2]]
        if found != value:
            yield f"model.{name}={found}, and open_clip's VisionTransformer has {value}"
    if model.text.projection == "none":
        yield "model.text.projection=none, and open_clip's CLIP class projects texts"
    if model.scale_form != "exp":
        yield f"model.scale_form={model.scale_form}, and open_clip's scale is exp(parameter)"
    towers = ("text",) if model.image.stages else MODALITIES
    quick = [model[modality].activation == "quick_gelu" for modality in towers]
    if any(quick) and not all(quick):
        yield "one tower has quick_gelu and the other has not; open_clip has one switch for both"


def write(model: ConfigDict, data: ConfigDict, tokenizer: bool) -> dict[str, Any]:
    """Fields of config.model and config.data → open_clip_config.json."""
    image, text = model.image, model.text
    tokens = {
        **{"context_length": text.context_length, "vocab_size": text.vocab_size},
        **{"width": text.width, "heads": text.heads, "layers": text.layers},
        "no_causal_mask": not text.causal,
        "pool_type": next(k for k, v in TEXT_POOLINGS.items() if v == text.pooling),
        "proj_bias": text.projection == "affine",
    }
    if tokenizer:
        tokens["hf_tokenizer_name"] = "."  # Whatever it says, it is read from the folder itself.
    found = {
        "embed_dim": model.embed_dim,
        "quick_gelu": text.activation == "quick_gelu",
        "vision_cfg": _vision(image),
        "text_cfg": tokens | _block(text),
    }
    if model.logit_bias:
        found["init_logit_bias"] = model.bias_init
    statistics = {"mean": list(data.mean), "std": list(data.std)}
    mode = {"crop": "shortest", "squash": "squash"}[data.resize]
    return {
        "model_cfg": found,
        "preprocess_cfg": statistics | {"interpolation": "bicubic", "resize_mode": mode},
    }


def read(given: dict[str, Any]) -> dict[str, Any]:
    """model_cfg of open_clip_config.json → fields of config.model.

    AligngapError names what our towers do not have.
    """
    vision, text = given.get("vision_cfg"), given.get("text_cfg")
    if not isinstance(vision, dict) or not isinstance(text, dict):
        raise AligngapError("open_clip_config.json has no vision_cfg and text_cfg")
    _refuse(given, {"multimodal_cfg": None}, "model_cfg")
    _refuse(vision, VISION_ONLY | BOTH | {"timm_model_name": None}, "vision_cfg")
    _refuse(text, TEXT_ONLY | BOTH, "text_cfg")
    pooling = text.get("pool_type", "argmax")
    if pooling not in TEXT_POOLINGS:
        raise AligngapError(
            f"open_clip_config.json: unknown architecture: text_cfg.pool_type={pooling!r}"
        )
    quick = bool(given.get("quick_gelu", False))
    return {
        "embed_dim": given.get("embed_dim", 512),
        "logit_bias": given.get("init_logit_bias") is not None,
        **_vision_fields(vision, quick),
        "text.width": text.get("width", 512),
        "text.layers": text.get("layers", 12),
        "text.heads": text.get("heads", 8),
        "text.context_length": text.get("context_length", 77),
        "text.vocab_size": text.get("vocab_size", 49_408),
        "text.causal": not text.get("no_causal_mask", False),
        "text.pooling": TEXT_POOLINGS[pooling],
        "text.projection": "affine" if text.get("proj_bias") else "linear",
        **_block_fields("text", text, text.get("width", 512), quick),
    }


def _vision_fields(vision: dict[str, Any], quick: bool) -> dict[str, Any]:
    width, layers = vision.get("width", 768), vision.get("layers", 12)
    size = vision.get("image_size", 224)
    if isinstance(layers, list):
        return resnet.fields(width, tuple(layers), size)
    return {
        "image.width": width,
        "image.layers": layers,
        "image.heads": width // vision.get("head_width", HEAD_WIDTH),
        "image.size": size,
        "image.patch_size": vision.get("patch_size", 16),
        "image.input_norm": not vision.get("no_ln_pre", False),
        **_block_fields("image", vision, width, quick),
    }


def from_shapes(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Fields of config.model that a state dict's shapes tell; heads are taken as 64 wide."""
    text_width = len(tensors["ln_final.weight"])
    affine = "text_projection.weight" in tensors
    projection = tensors["text_projection.bias" if affine else "text_projection"]
    image = resnet.from_shapes(tensors) if resnet.of(tensors) else _vit_shapes(tensors)
    return image | {
        "embed_dim": projection.shape[-1],
        "logit_bias": "logit_bias" in tensors,
        "text.projection": "affine" if affine else "linear",
        "text.context_length": len(tensors["positional_embedding"]),
        "text.vocab_size": len(tensors["token_embedding.weight"]),
        **transformer_shapes("text", tensors, "transformer.resblocks.", text_width),
    }


def _vit_shapes(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    width, prefix = len(tensors["visual.ln_post.weight"]), "visual.transformer.resblocks."
    norm = {"image.input_norm": "visual.ln_pre.weight" in tensors}
    return image_shapes(tensors) | norm | transformer_shapes("image", tensors, prefix, width)


def image_shapes(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Patch side and image side, from the patch convolution and the positions."""
    patch = tensors["visual.conv1.weight"].shape[-1]
    grid = math.isqrt(len(tensors["visual.positional_embedding"]) - 1)
    return {"image.patch_size": patch, "image.size": grid * patch}


def transformer_shapes(
    modality: str, tensors: Mapping[str, np.ndarray], prefix: str, width: int
) -> dict[str, Any]:
    """Width, layers and MLP of a tower, from its blocks."""
    layers = {
        name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)
    }
    hidden = len(tensors[f"{prefix}0.mlp.c_fc.bias"])
    return {
        f"{modality}.width": width,
        f"{modality}.layers": len(layers),
        f"{modality}.heads": 1 if width % HEAD_WIDTH else width // HEAD_WIDTH,
        f"{modality}.mlp_ratio": hidden / width,
    }


def without_text_prefix(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A state dict of CustomTextCLIP under the names of CLIP, and without buffers."""
    return {
        name.removeprefix("text."): array
        for name, array in tensors.items()
        if name.removeprefix("text.") not in IGNORED and not name.endswith(resnet.UNUSED)
    }


def _refuse(given: dict[str, Any], allowed: dict[str, Any], section: str) -> None:
    for key, value in allowed.items():
        if given.get(key, value) != value:
            raise AligngapError(
                f"open_clip_config.json: unknown architecture: {section}.{key}={given[key]!r}"
            )


def _vision(image: ConfigDict) -> dict[str, Any]:
    """vision_cfg: a ResNet is one whose layers are a list."""
    found = {"image_size": image.size, "width": image.width}
    if image.stages:
        return found | {"layers": list(image.stages), "head_width": resnet.HEAD_WIDTH}
    head_width = image.width // image.heads
    found |= {"patch_size": image.patch_size, "layers": image.layers, "head_width": head_width}
    return found | {"no_ln_pre": not image.input_norm} | _block(image)


def _block(tower: ConfigDict) -> dict[str, Any]:
    """The options that both towers' blocks have."""
    hidden = round(tower.width * tower.mlp_ratio)
    exact = hidden / tower.width
    # open_clip cuts off where we round.
    ratio = exact if int(tower.width * exact) == hidden else (hidden + 0.5) / tower.width
    found: dict[str, Any] = {"mlp_ratio": ratio, "norm_kwargs": {"eps": tower.norm_eps}}
    if tower.activation == "gelu_tanh":
        found["act_kwargs"] = {"approximate": "tanh"}
    return found


def _block_fields(
    modality: str, section: dict[str, Any], width: int, quick: bool
) -> dict[str, Any]:
    tanh = (section.get("act_kwargs") or {}).get("approximate") == "tanh"
    named = {(True, False): "quick_gelu", (False, False): "gelu", (False, True): "gelu_tanh"}
    if (quick, tanh) not in named:
        raise AligngapError("open_clip_config.json: quick_gelu and act_kwargs at once")
    return {
        f"{modality}.mlp_ratio": int(width * section.get("mlp_ratio", 4.0)) / width,
        f"{modality}.norm_eps": float((section.get("norm_kwargs") or {}).get("eps", 1e-5)),
        f"{modality}.activation": named[quick, tanh],
    }
