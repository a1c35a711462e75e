"""The published models and sizes by name: what each changes in the default config.

[AC] AlignCLIP (Eslami & de Melo 2025), [CG] It's Not a Modality Gap (Fahim et al. 2024),
[SL] SigLIP (Zhai et al. 2023), [RB] its relative bias (arXiv 2509.18552), [CL] CL_gap (2601.18525),
[CR] CLIP-Refine (2504.12717).
"""

from typing import Any

from ml_collections import ConfigDict

from aligngap.config import MODALITIES, default, tower
from aligngap.errors import UsageError

_TIED = {"model.tie": "transformer+projection"}
_UNIFORM = {"objective.alignment_weight": 1.0, "objective.uniformity_weight": 1.0}
_SIGMOID = {
    "objective.contrastive_weight": 0.0,
    "objective.sigmoid_weight": 1.0,
    "model.scale_init": 10.0,
    "model.logit_bias": True,
}
PRESETS: dict[str, dict[str, Any]] = {
    "clip": {},
    "sharedclip": _TIED,  # [AC] One encoder for both modalities, CLIP's loss.
    "alignclip": _TIED | {"objective.separation_weight": 0.25},  # [AC] Half of the paper's total.
    # [AC] As its released script: a sum of cross-entropies, and both modalities separated.
    "alignclip_released": _TIED
    | {
        "objective.contrastive_weight": 2.0,
        "objective.separation_weight": 0.5,
        "objective.separated": ("image", "text"),
    },
    "cua": _UNIFORM,  # [CG] CLIP's loss, uniformity of each modality, alignment.
    "cuaxu": _UNIFORM | {"objective.cross_uniformity_weight": 1.0},  # [CG]
    # aligngap's recipe (configs/study): [AC]'s encoder, [CG]'s losses; no paper has them together.
    "cua_tied": _TIED | _UNIFORM,
    # [CL] The paper's weights, at the fixed τ of its code: 0.1.
    "cl_gap": {
        "objective.alignment_weight": 1.0,
        "objective.centroid_uniformity_weight": 1.0,
        "objective.temperature": "fixed",
        "model.scale_init": 10.0,
    },
    # [CR] The losses, for a model that --init_from names; its authors: AdamW, constantly at 1e-6.
    "clip_refine": {
        "objective.contrastive_weight": 0.0,
        "objective.random_alignment_weight": 1.0,
        "objective.distillation_weight": 1.0,
    },
    "siglip": _SIGMOID,  # [SL] The loss only: its towers are CLIP's.
    # [RB] r from [SL]'s bias, -10 = -10 r. From 0, as in its experiments on synthetic data, nearly
    # all pairs are too close, and all cosines are driven to -1 first.
    "siglip_relative": _SIGMOID | {"model.bias_form": "relative", "model.bias_init": 1.0},
}
# Fields of config.model in which SigLIP's towers are not as CLIP's. [SL]
SIGLIP_TOWERS: dict[str, Any] = {
    "image.patch_bias": True,
    "image.input_norm": False,
    "image.pooling": "attention",
    "image.projection": "none",
    "text.causal": False,
    "text.pooling": "last",
    "text.projection": "affine",
    **{f"{modality}.activation": "gelu_tanh" for modality in MODALITIES},
    **{f"{modality}.norm_eps": 1e-6 for modality in MODALITIES},
}
# (width, layers, heads, MLP ratio) of the image tower and of the text tower that goes with it.
# Dosovitskiy et al. 2021, Zhai et al. 2022; texts as in CLIP and open_clip.
SIZES = {
    "Ti": ((192, 12, 3, 4.0), (192, 12, 3, 4.0)),
    "S": ((384, 12, 6, 4.0), (384, 12, 6, 4.0)),
    "B": ((768, 12, 12, 4.0), (512, 12, 8, 4.0)),
    "L": ((1024, 24, 16, 4.0), (768, 12, 12, 4.0)),
    "H": ((1280, 32, 16, 4.0), (1024, 24, 16, 4.0)),
    "g": ((1408, 40, 16, 6144 / 1408), (1024, 24, 16, 4.0)),
}


def preset(name: str) -> ConfigDict:
    """The default config as one of PRESETS."""
    if name not in PRESETS:
        raise UsageError(f"preset {name!r}: one of {', '.join(PRESETS)}")
    config = default()
    config.name = name
    config.update_from_flattened_dict(PRESETS[name])
    return config


def set_size(config: ConfigDict, name: str) -> ConfigDict:
    """Sets both towers to a named size, e.g. "B/16": Ti, S, B, L, H or g and the patch side.

    A tied transformer has one shape: the image tower's.
    """
    size, _, patch = name.partition("/")
    if size not in SIZES or not patch.isdigit():
        raise UsageError(f"model size {name!r}: expected one of {', '.join(SIZES)} and /patch side")
    image, text = SIZES[size]
    config.model.image.update(tower(*image), patch_size=int(patch))
    config.model.text.update(tower(*(image if config.model.tie != "none" else text)))
    return config
