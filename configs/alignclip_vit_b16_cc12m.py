"""AlignCLIP ViT-B/16 on CC12M: the recipe of Eslami & de Melo (ICLR 2025) in full.

    aligngap train --config=configs/alignclip_vit_b16_cc12m.py --dry_run

CC12M has no builder here yet, so the recipe can be priced and checked, or trained on another corpus
with --config.data.corpus. Presets: alignclip, sharedclip, clip. The paper's total loss is twice
ours (see config.default). None of its figures is promised.
"""

from ml_collections import ConfigDict

from aligngap.config import tower
from aligngap.presets import SIZES, preset, set_size


def get_config(name: str = "alignclip") -> ConfigDict:
    """30 epochs of 10,030,127 pairs at batch 512; images 224 px, context 77, embedding 768."""
    config = preset(name)
    config.data.corpus = "cc12m"
    config.data.tokenizer = "clip"
    config.compute_dtype = "bfloat16"
    config.model.embed_dim = 768
    set_size(config, "B/16")
    # Both towers have the image tower's shape, tied or not: 124 M parameters or 210 M.
    config.model.text.update(tower(*SIZES["B"][0]))
    return config
