"""The main job on one small machine: CLIP against AlignCLIP on pictograms.

    aligngap train --config=configs/quickstart.py --sweep --workdir=runs/quickstart
    aligngap train --config=configs/quickstart.py:sharedclip --workdir=runs/sharedclip

The sweep has both; a preset is any of aligngap/presets.py.
"""

from typing import Any

from ml_collections import ConfigDict

from aligngap.config import evaluator, tower
from aligngap.presets import PRESETS, preset

# By `validation`, with those of further methods: study/study.py.
RATES = {"alignclip": 2e-3, "cuaxu": 2e-3, "cl_gap": 2e-3}
RATE = 1e-3


def sweep() -> dict[str, dict[str, Any]]:
    """Two towers, and a tied transformer with IMSep."""
    return {
        name: {"name": name, "optimizer.peak_lr": RATES.get(name, RATE), **PRESETS[name]}
        for name in ("clip", "alignclip")
    }


def get_config(name: str = "clip") -> ConfigDict:
    """A small Vision Transformer at 32 pixels that a core trains in 4 to 6 minutes."""
    config = preset(name)
    config.steps = 780
    config.batch_size = 256

    config.data.crop_scale = (0.8, 1.0)
    config.data.max_keywords = 3
    config.data.name_share = 0.7
    config.data.in_memory = True  # 120 MB.
    config.data.mean = (0.8, 0.78, 0.76)  # Of the training images: most of a pictogram is white.
    config.data.std = (0.3, 0.3, 0.33)

    model = config.model
    model.embed_dim = 256
    model.image.update(tower(128, 4, 2, 4.0), size=32, patch_size=16)
    model.text.update(tower(128, 4, 2, 4.0), context_length=12, vocab_size=2048)

    optimizer = config.optimizer
    optimizer.peak_lr = RATES.get(name, RATE)
    optimizer.warmup_steps = 80
    config.checkpoint.every_steps = 156
    for entry in (config.evaluators.gap, config.evaluators.retrieval):
        entry.every_steps = 156
    config.evaluators.search = evaluator("search")
    return config
