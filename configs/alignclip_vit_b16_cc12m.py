"""AlignCLIP ViT-B/16 on CC12M: the recipe of Eslami & de Melo (ICLR 2025) in full.

    img2dataset --url_list=cc12m.tsv --input_format=tsv --url_col=url --caption_col=caption \\
        --output_format=webdataset --output_folder=cc12m --image_size=256 --resize_mode=keep_ratio
    aligngap prepare --source='cc12m/{00000..01242}.tar' --name=cc12m --check=header \\
        --semantics=minilm --tokenizer=clip
    aligngap train --config=configs/alignclip_vit_b16_cc12m.py --workdir=runs/cc12m
    aligngap train --config=configs/alignclip_vit_b16_cc12m.py --sweep --workdir=runs/alignclip

The first is img2dataset's own; shards that it left are taken as they are (cc12m/*.tar: whichever
there are). With --dry_run the third prices the recipe and needs no data. Presets: alignclip,
sharedclip, clip; only alignclip needs --semantics. The fourth trains all that the paper compares:
each method in each size of its code, and AlignCLIP without what makes it up. The paper's total loss
is twice ours (see config.default). None of its figures is promised.
"""

from typing import Any

from ml_collections import ConfigDict

from aligngap.config import MODALITIES, default, keys, tower
from aligngap.presets import PRESETS, SIZES, preset, set_size

BACKBONES: dict[str, dict[str, Any]] = {  # As the released code calls them.
    "ViT-B-16": {},
    "ViT-B-16-512": {"model.embed_dim": 512},
    "ViT-L-16": {f"model.{modality}.layers": 16 for modality in MODALITIES},  # At width 768.
}
METHODS = ("clip", "sharedclip", "alignclip")
ABLATIONS: dict[str, dict[str, Any]] = {
    "alignclip_unscaled": PRESETS["alignclip"] | {"objective.semantic_rescaling": False},
    "alignclip_released": PRESETS["alignclip_released"],  # Captions separated as well.
}


def get_config(name: str = "alignclip") -> ConfigDict:
    """30 epochs of 10,030,127 pairs at batch 512; images 224 px, context 77, embedding 768."""
    config = preset(name)
    config.data.corpus = "cc12m"
    config.data.tokenizer = "clip"
    config.data.pack_captions = True  # Captions are far shorter than 77 tokens.
    config.compute_dtype = "bfloat16"
    config.model.embed_dim = 768
    set_size(config, "B/16")
    # Both towers have the image tower's shape, tied or not: 124 M parameters or 210 M.
    config.model.text.update(tower(*SIZES["B"][0]))
    return config


def sweep() -> dict[str, dict[str, Any]]:
    """The paper's methods in each size, and its ablations in the first; from any preset."""
    plain = keys(default())
    changed = {key for name in METHODS for key in PRESETS[name]} | {
        *ABLATIONS["alignclip_released"]
    }
    of_clip = {key: plain[key] for key in sorted(changed)}
    sized = {
        f"{method}-{size}": PRESETS[method] | fields
        for size, fields in BACKBONES.items()
        for method in METHODS
    }
    return {
        name: {**of_clip, **changes, "name": name} for name, changes in (sized | ABLATIONS).items()
    }
