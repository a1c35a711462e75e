"""CLIPModel and SiglipModel of transformers: their config.json and tensors, both ways.

Names and defaults: transformers 5, models/clip and models/siglip.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from aligngap.config import MODALITIES, keys
from aligngap.errors import AligngapError
from aligngap.interop import mapping
from aligngap.interop.formats import parts
from aligngap.interop.mapping import Line, Rule
from aligngap.presets import SIGLIP_TOWERS

QKV = ("q", "k", "v")
ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh", "quick_gelu": "quick_gelu"}
SECTIONS = {"image": "vision_config", "text": "text_config"}
# Our field of a tower, theirs.
FIELDS = {
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "norm_eps": "layer_norm_eps",
}
OWN = {
    "image": {"size": "image_size", "patch_size": "patch_size"},
    "text": {"context_length": "max_position_embeddings", "vocab_size": "vocab_size"},
}
BLOCKS: tuple[Line, ...] = (
    ("attention_norm/scale", "layer_norm1.weight", "layer width -> layer width"),
    ("attention_norm/bias", "layer_norm1.bias", "layer width -> layer width"),
    (
        "attention/qkv/kernel",
        "self_attn.{qkv}_proj.weight",
        "layer qkv (head dim) width -> layer width qkv head dim",
    ),
    (
        "attention/qkv/bias",
        "self_attn.{qkv}_proj.bias",
        "layer qkv (head dim) -> layer qkv head dim",
    ),
    (
        "attention/output/kernel",
        "self_attn.out_proj.weight",
        "layer width (head dim) -> layer head dim width",
    ),
    ("attention/output/bias", "self_attn.out_proj.bias", "layer width -> layer width"),
    ("mlp_norm/scale", "layer_norm2.weight", "layer width -> layer width"),
    ("mlp_norm/bias", "layer_norm2.bias", "layer width -> layer width"),
    ("mlp/hidden/kernel", "mlp.fc1.weight", "layer hidden width -> layer width hidden"),
    ("mlp/hidden/bias", "mlp.fc1.bias", "layer hidden -> layer hidden"),
    ("mlp/output/kernel", "mlp.fc2.weight", "layer width hidden -> layer hidden width"),
    ("mlp/output/bias", "mlp.fc2.bias", "layer width -> layer width"),
)
IMAGE_INPUT: tuple[Line, ...] = (
    (
        "patch_kernel",
        "patch_embedding.weight",
        "width channel row column -> (row column channel) width",
    ),
    ("positions", "position_embedding.weight", "length width -> length width"),
)
CLIP_IMAGE_INPUT: tuple[Line, ...] = (
    *((ours, f"embeddings.{theirs}", layout) for ours, theirs, layout in IMAGE_INPUT),
    ("class_token", "embeddings.class_embedding", "width -> width"),
    ("input_norm/scale", "pre_layrnorm.weight", "width -> width"),  # Their spelling.
    ("input_norm/bias", "pre_layrnorm.bias", "width -> width"),
)
SIGLIP_IMAGE_INPUT: tuple[Line, ...] = (
    *((ours, f"embeddings.{theirs}", layout) for ours, theirs, layout in IMAGE_INPUT),
    ("patch_bias", "embeddings.patch_embedding.bias", "width -> width"),
)
SIGLIP_POOLING: tuple[Line, ...] = (
    ("query_token", "probe", "1 1 width -> width"),
    (
        "qkv/kernel",
        "attention.in_proj_weight",
        "(qkv head dim) width -> width qkv head dim",
    ),
    ("qkv/bias", "attention.in_proj_bias", "(qkv head dim) -> qkv head dim"),
    ("output/kernel", "attention.out_proj.weight", "width (head dim) -> head dim width"),
    ("output/bias", "attention.out_proj.bias", "width -> width"),
    ("mlp_norm/scale", "layernorm.weight", "width -> width"),
    ("mlp_norm/bias", "layernorm.bias", "width -> width"),
    ("mlp/hidden/kernel", "mlp.fc1.weight", "hidden width -> width hidden"),
    ("mlp/hidden/bias", "mlp.fc1.bias", "hidden -> hidden"),
    ("mlp/output/kernel", "mlp.fc2.weight", "width hidden -> hidden width"),
    ("mlp/output/bias", "mlp.fc2.bias", "width -> width"),
)
TEXT_INPUT: tuple[Line, ...] = (
    ("tokens/embedding", "token_embedding.weight", "vocabulary width -> vocabulary width"),
    ("positions", "position_embedding.weight", "length width -> length width"),
)
LINEAR: tuple[Line, ...] = (("kernel", "weight", "embedding width -> width embedding"),)
AFFINE: tuple[Line, ...] = (*LINEAR, ("bias", "bias", "embedding -> embedding"))
NORM: tuple[Line, ...] = (
    ("scale", "weight", "width -> width"),
    ("bias", "bias", "width -> width"),
)


@dataclass(frozen=True)
class Family:
    """A model class of transformers: what it leaves no choice in, and what it leaves out."""

    architecture: str
    model_type: str
    fixed: dict[str, Any]  # Fields of config.model that all of its models have.
    defaults: dict[str, dict[str, Any]]  # What its config.json may leave out, by section.
    rules: Callable[[ConfigDict], list[Rule]]

    def problems(self, model: ConfigDict) -> Iterator[str]:
        """Why a model of ours is none of this class, a sentence each."""
        flat = keys(model)
        for name, value in self.fixed.items():
            if flat[name] != value:
                yield f"model.{name}={flat[name]}, and a {self.architecture} has {value}"


def read(family: Family, given: dict[str, Any]) -> dict[str, Any]:
    """config.json → fields of config.model. AligngapError for what our towers do not have."""
    sections = {name: _section(family, given, name) for name in MODALITIES}
    fields = dict(family.fixed)
    for modality, section in sections.items():
        wanted = FIELDS | OWN[modality]
        fields |= {f"{modality}.{ours}": section[theirs] for ours, theirs in wanted.items()}
        fields[f"{modality}.activation"] = _activation(section["hidden_act"])
        hidden = section["intermediate_size"] / section["hidden_size"]
        fields[f"{modality}.mlp_ratio"] = float(hidden)
    fields["embed_dim"] = _embed_dim(family, given, sections)
    return fields


def write(family: Family, model: ConfigDict, end_id: int, padding_id: int) -> dict[str, Any]:
    """Fields of config.model → config.json."""
    found: dict[str, Any] = {
        "architectures": [family.architecture],
        "model_type": family.model_type,
    }
    for modality, section in SECTIONS.items():
        tower = model[modality]
        theirs = {name: tower[ours] for ours, name in (FIELDS | OWN[modality]).items()}
        theirs["hidden_act"] = ACTIVATIONS[tower.activation]
        theirs["intermediate_size"] = round(tower.width * tower.mlp_ratio)
        found[section] = theirs
    found["text_config"] |= {"eos_token_id": end_id, "pad_token_id": padding_id}
    if family is SIGLIP:
        found["text_config"]["projection_size"] = model.embed_dim
        return found
    found["text_config"]["bos_token_id"] = end_id - 1
    for section in SECTIONS.values():
        found[section]["projection_dim"] = model.embed_dim
    return found | {"projection_dim": model.embed_dim}


def end_of_text(given: dict[str, Any]) -> int | None:
    """The id at which a CLIPModel pools a caption; None: at the highest, whichever it is."""
    end = _section(CLIP, given, "text")["eos_token_id"]
    return None if end == 2 else end  # What 2 means there: the configs of the first models.


def clip_rules(model: ConfigDict) -> list[Rule]:
    """Of CLIPModel. A tied transformer is read by both towers' rules: it is written twice."""
    image, text = mapping.axes(model.image, QKV), mapping.axes(model.text, QKV)
    found = list(image.rules(CLIP_IMAGE_INPUT, "image_input/", "vision_model."))
    found += image.rules(LINEAR, parts.projection(model, "image"), "visual_projection.")
    found += text.rules(LINEAR, parts.projection(model, "text"), "text_projection.")
    found += image.rules([("logit_scale", "logit_scale", " -> ")])
    return found + _shared_rules(model)


def siglip_rules(model: ConfigDict) -> list[Rule]:
    """Of SiglipModel."""
    image, text = mapping.axes(model.image, QKV), mapping.axes(model.text, QKV)
    found = list(image.rules(SIGLIP_IMAGE_INPUT, "image_input/", "vision_model."))
    found += image.rules(SIGLIP_POOLING, "image_pooling/", "vision_model.head.")
    found += text.rules(AFFINE, parts.projection(model, "text"), "text_model.head.")
    found += image.rules([(name, name, "1 -> ") for name in ("logit_scale", "logit_bias")])
    return found + _shared_rules(model)


def _shared_rules(model: ConfigDict) -> list[Rule]:
    image, text = mapping.axes(model.image, QKV), mapping.axes(model.text, QKV)
    found = list(text.rules(TEXT_INPUT, "text_input/", "text_model.embeddings."))
    norms = {"image": "vision_model.post_layernorm.", "text": "text_model.final_layer_norm."}
    for modality, axes in (("image", image), ("text", text)):
        ours, theirs = parts.transformer(model, modality), norms[modality].split(".")[0]
        found += axes.rules(BLOCKS, f"{ours}blocks/", f"{theirs}.encoder.layers.{{layer}}.")
        found += axes.rules(NORM, f"{ours}final_norm/", norms[modality])
    return found


def _section(family: Family, given: dict[str, Any], modality: str) -> dict[str, Any]:
    name = SECTIONS[modality]
    found = family.defaults[modality] | (given.get(name) or {}) | (given.get(f"{name}_dict") or {})
    for key in (*FIELDS.values(), *OWN[modality].values(), "intermediate_size"):
        _above_zero(found[key], f"{name}.{key}")
    if modality == "image" and not found.get("vision_use_head", True):
        raise AligngapError("config.json: vision_config.vision_use_head=false has no embedding")
    return found


def _above_zero(value: Any, name: str) -> float:
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise AligngapError(f"config.json: {name}={value!r} is no number above 0")
    return value


def _activation(name: str) -> str:
    ours = {theirs: own for own, theirs in ACTIVATIONS.items()}
    if str(name) not in ours:
        raise AligngapError(f"config.json: hidden_act={name!r}; known: {', '.join(ours)}")
    return ours[name]


def _embed_dim(family: Family, given: dict[str, Any], sections: dict[str, Any]) -> int:
    if family is CLIP:
        return int(_above_zero(given.get("projection_dim", 512), "projection_dim"))
    width = sections["text"].get("projection_size") or sections["text"]["hidden_size"]
    if width != sections["image"]["hidden_size"]:
        raise AligngapError(
            f"config.json: texts are projected to {width}, images have "
            f"{sections['image']['hidden_size']} features; expected the same"
        )
    return int(width)


def _tower(width: int, heads: int, eps: float, activation: str) -> dict[str, Any]:
    sizes = {"hidden_size": width, "intermediate_size": 4 * width, "num_attention_heads": heads}
    return sizes | {"num_hidden_layers": 12, "layer_norm_eps": eps, "hidden_act": activation}


_CLIP_DEFAULTS = {
    "image": _tower(768, 12, 1e-5, "quick_gelu") | {"image_size": 224, "patch_size": 32},
    "text": _tower(512, 8, 1e-5, "quick_gelu")
    | {"max_position_embeddings": 77, "vocab_size": 49_408, "eos_token_id": 49_407},
}
_SIGLIP_DEFAULTS = {
    "image": _tower(768, 12, 1e-6, "gelu_pytorch_tanh") | {"image_size": 224, "patch_size": 16},
    "text": _tower(768, 12, 1e-6, "gelu_pytorch_tanh")
    | {"max_position_embeddings": 64, "vocab_size": 32_000},
}
CLIP = Family(
    "CLIPModel",
    "clip",
    {
        "image.stages": (),
        "image.patch_bias": False,
        "image.input_norm": True,
        "image.pooling": "class_token",
        "image.projection": "linear",
        "text.causal": True,
        "text.pooling": "end_of_text",
        "text.projection": "linear",
        "logit_bias": False,
        "scale_form": "exp",
    },
    _CLIP_DEFAULTS,
    clip_rules,
)
SIGLIP = Family(
    "SiglipModel",
    "siglip",
    {k: v for k, v in SIGLIP_TOWERS.items() if not k.endswith(("activation", "norm_eps"))}
    | {"image.stages": (), "logit_bias": True, "scale_form": "exp"},
    _SIGLIP_DEFAULTS,
    siglip_rules,
)
FAMILIES = {family.model_type: family for family in (CLIP, SIGLIP)}
