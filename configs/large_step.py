"""The size at which steps are measured on a GPU: ViT-B/16 at 224 px in bfloat16 (docs/speed.md).

    aligngap bench step --config=configs/large_step.py:clip --config.batch_size=512

Presets: those of aligngap/presets.py, of which `python -m aligngap.benchmarks.on_gpu` measures clip
(texts 512 wide, as OpenAI's) and alignclip (one transformer, 768 wide).
"""

from ml_collections import ConfigDict

from aligngap.presets import preset, set_size


def get_config(name: str = "clip") -> ConfigDict:
    """12 + 12 layers, 77 tokens of 49,408, 512 dimensions, batch 4,096."""
    config = set_size(preset(name), "B/16")
    config.batch_size = 4096
    config.compute_dtype = "bfloat16"
    return config
