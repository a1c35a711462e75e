"""The protocol of It's Not a Modality Gap (Fahim et al. 2024): OpenAI's ViT-B/32, both projections
anew at D dimensions, everything fine-tuned on COCO with each of the paper's losses.

    aligngap import --source=DIR --workdir=runs/openai_b32        DIR: a transformers CLIPModel
    aligngap train --config=configs/contrastive_gap_vit_b32_coco.py:cua --workdir=runs/cua_32 \\
        --init_from=runs/openai_b32 --config.model.embed_dim=32 --config.seed=24
    aligngap train --config=configs/contrastive_gap_vit_b32_coco.py --sweep --workdir=runs/cua \\
        --init_from=runs/openai_b32

Presets: clip, cua, cuaxu. The third trains all rows of the paper's tables: each of them at each of
its D, with each of its seeds. The corpus is made of COCO's files with `aligngap prepare
--source=annotations/captions_train2017.json --images=train2017 --name=coco`; another one by
--config.data.corpus. The authors drop a pair of whose caption its batch has one already; here such
pairs are no negatives of each other.
"""

from typing import Any

from ml_collections import ConfigDict

from aligngap.config import MODALITIES
from aligngap.presets import PRESETS, preset, set_size

LOSSES = ("clip", "cua", "cuaxu")
DIMENSIONS = (32, 64, 128)
SEEDS = (24, 42, 44)


def get_config(name: str = "cua") -> ConfigDict:
    """9 epochs of train2017's 118,287 images at batch 64, float32, τ fixed at 0.01."""
    config = preset(name)
    set_size(config, "B/32")
    for modality in MODALITIES:
        config.model[modality].activation = "quick_gelu"
    config.model.embed_dim = 64
    config.fresh = ("projection",)
    config.batch_size = 64
    config.steps = 9 * 118_287 // 64
    config.data.corpus = "coco"
    config.data.tokenizer = "clip_fast"
    config.data.first_caption = True
    config.data.crop_scale, config.data.crop_ratio = (1.0, 1.0), (1.0, 1.0)
    config.objective.temperature, config.model.scale_init = "fixed", 100.0
    config.objective.mask_duplicates = "caption"
    config.optimizer.update(peak_lr=1e-6, warmup_steps=0, schedule="constant", decay="all")
    config.optimizer.update(b1=0.9, b2=0.99, eps=1e-8, weight_decay=0.1)
    return config


def sweep() -> dict[str, dict[str, Any]]:
    """Each loss at each D with each seed; from any preset."""
    none = dict.fromkeys(PRESETS["cuaxu"], 0.0)
    return {
        f"{loss}-{dimension}-seed{seed}": {
            **none,
            **PRESETS[loss],
            "name": loss,
            "model.embed_dim": dimension,
            "seed": seed,
        }
        for dimension in DIMENSIONS
        for loss in LOSSES
        for seed in SEEDS
    }
