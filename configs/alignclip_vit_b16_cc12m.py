"""AlignCLIP ViT-B/16 on CC12M: the recipe of Eslami & de Melo (ICLR 2025) in full.

    img2dataset --url_list=cc12m.tsv --input_format=tsv --url_col=url --caption_col=caption \\
        --output_format=webdataset --output_folder=cc12m --image_size=256 --resize_mode=keep_ratio
    aligngap prepare --source='cc12m/{00000..01242}.tar' --name=cc12m --check=header \\
        --semantics=minilm --tokenizer=clip
    aligngap train --config=configs/alignclip_vit_b16_cc12m.py --workdir=runs/cc12m

The first is img2dataset's own; shards that it left are taken as they are (cc12m/*.tar: whichever
there are). With --dry_run the third prices the recipe and needs no data. Presets: alignclip,
sharedclip, clip; only alignclip needs --semantics. The paper's total loss is twice ours (see
config.default). None of its figures is promised.
"""

from ml_collections import ConfigDict

from aligngap.config import tower
from aligngap.presets import SIZES, preset, set_size


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
