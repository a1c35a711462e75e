"""The size at which steps are compared on a CPU: torch's beside ours (docs/speed.md).

    aligngap bench step --config=configs/small_step.py:clip --peers transformers

Presets: those of aligngap/presets.py, of which docs/speed.md measures clip and alignclip.
"""

from ml_collections import ConfigDict

from aligngap.config import tower
from aligngap.presets import preset


def get_config(name: str = "clip") -> ConfigDict:
    """6 + 6 layers of width 192, 64 px in patches of 8, 32 tokens of CLIP's 49,408, batch 128."""
    config = preset(name)
    config.batch_size = 128
    config.model.embed_dim = 192
    config.model.image.update(tower(192, 6, 3, 4.0), size=64, patch_size=8)
    config.model.text.update(tower(192, 6, 3, 4.0), context_length=32)
    return config
