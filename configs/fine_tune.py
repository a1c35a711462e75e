"""Fine-tuning a trained or imported model: on a labelled set, and for retrieval.

    aligngap train --config=configs/fine_tune.py:labelled --init_from=runs/openai_b16 \\
        --workdir=runs/flyp --config.data.corpus=cifar100
    aligngap train --config=configs/fine_tune.py:retrieval,runs/quickstart/clip \\
        --workdir=runs/more --config.steps=1000
    aligngap evaluate --workdir=runs/flyp

Presets: labelled; retrieval. They start from OpenAI's ViT-B/16, or with ",DIR" from whatever model
the run or import in DIR has: its architecture, tokenizer and pixels come from there.

labelled is "Finetune like you pretrain" (Goyal et al. 2023; code locuslab/FLYP, ImageNet): the
contrastive loss goes on, with the classes in prompts as captions. Images of one class are no
negatives of each other here, and are there. retrieval is that recipe on captions: ours.
"""

from pathlib import Path

from ml_collections import ConfigDict

from aligngap.config import MODALITIES, evaluator
from aligngap.errors import UsageError
from aligngap.presets import preset, set_size
from aligngap.runs import workdir

HOW = ("labelled", "retrieval")
OF_THE_MODEL = ("tokenizer", "mean", "std", "resize", "max_keywords")


def get_config(given: str = "labelled") -> ConfigDict:
    """AdamW at 1e-5, weight decay .1, batch 512, 500 steps of warm-up, cosine; 5,000 steps."""
    how, _, folder = given.partition(",")
    if how not in HOW:
        raise UsageError(f"preset {how!r}: one of {', '.join(HOW)}")
    config = preset("clip")
    config.name = how
    if folder:
        source = workdir.read_config(Path(folder))
        config.model, config.init_from = source.model, folder
        config.data.update({name: source.data[name] for name in OF_THE_MODEL})
    else:
        set_size(config, "B/16")
        config.data.tokenizer = "clip"
        for modality in MODALITIES:
            config.model[modality].activation = "quick_gelu"
    config.batch_size, config.steps = 512, 5000
    config.optimizer.update(peak_lr=1e-5, weight_decay=0.1, warmup_steps=500)
    config.checkpoint.every_steps = 1000
    if how == "labelled":
        config.data.class_captions = "label"
        config.objective.mask_duplicates = "group"
        config.evaluators.zero_shot.every_steps = 1000
        config.evaluators.probe = evaluator("probe", kinds=())
    else:
        config.objective.mask_duplicates = "group"
        config.evaluators.retrieval.every_steps = 1000
    return config
