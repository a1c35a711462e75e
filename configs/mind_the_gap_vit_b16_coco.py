"""The trainings of Mind the Gap (Liang et al. 2022) on COCO: the gap at six temperatures, and
from scratch.

    aligngap import --source=DIR --workdir=runs/openai_b16        DIR: a transformers CLIPModel
    aligngap train --config=configs/mind_the_gap_vit_b16_coco.py:temperature --sweep \\
        --init_from=runs/openai_b16 --workdir=runs/temperature
    aligngap train --config=configs/mind_the_gap_vit_b16_coco.py:scratch --sweep \\
        --workdir=runs/scratch

temperature goes on from OpenAI's model at each of the paper's six τ; scratch has its τ of 1/100 and
three seeds. The corpus is made as for contrastive_gap_vit_b32_coco.py.

Released is the code from scratch alone, whose recipe both presets have here. It leaves s to be
learnt, which its rate hardly moves; here it is fixed, as the paper tells it. Adam's weight decay is
a part of the gradient there, and AdamW's here. The start without a gap (Procrustes) is
`aligngap gap init`.
"""

from typing import Any

from ml_collections import ConfigDict

from aligngap.config import MODALITIES
from aligngap.errors import UsageError
from aligngap.presets import preset, set_size

SCALES = (1.0, 10.0, 20.0, 30.0, 50.0, 100.0)  # 1/τ
SEEDS = range(3)


def get_config(part: str = "temperature") -> ConfigDict:
    """5 epochs of 50,000 pairs at batch 64, Adam at 1e-5 without a schedule, float32."""
    if part not in ("temperature", "scratch"):
        raise UsageError(f"preset {part!r}: one of temperature, scratch")
    config = preset("clip")
    config.name = part
    set_size(config, "B/16")
    for modality in MODALITIES:
        config.model[modality].activation = "quick_gelu"
    config.batch_size = 64
    config.steps = 5 * 50_000 // 64
    config.data.corpus = "coco"
    config.data.tokenizer = "clip"
    config.data.crop_scale, config.data.crop_ratio = (1.0, 1.0), (1.0, 1.0)
    config.objective.temperature, config.model.scale_init = "fixed", 100.0
    config.optimizer.update(peak_lr=1e-5, warmup_steps=0, schedule="constant", decay="all")
    config.optimizer.update(b1=0.9, b2=0.98, eps=1e-6, weight_decay=0.2)
    return config


def sweep(part: str = "temperature") -> dict[str, dict[str, Any]]:
    """Each temperature, or each seed."""
    if part == "scratch":
        return {f"seed{seed}": {"seed": seed} for seed in SEEDS}
    return {
        f"tau1_{scale:g}": {"name": f"τ = 1/{scale:g}", "model.scale_init": scale}
        for scale in SCALES
    }
