"""The study's methods at CC12M's scale: each by AlignCLIP's recipe, ViT-B/16, 30 epochs.

    aligngap train --config=configs/study/cc12m.py:rates --sweep --workdir=runs/cc12m_rates
    aligngap train --config=configs/study/cc12m.py:main --sweep --workdir=runs/cc12m_study

The corpus is made as ../alignclip_vit_b16_cc12m.py says, whose model and recipe these are; the
methods are those of study.py. `rates`: each at each learning rate for a tenth of the steps, one
seed; `validation` says which rate it is to have in `main`, which until then has the recipe's for
all. Under SLURM a point a job: sbatch --array=0-47 launch/slurm.sbatch --config=... --workdir=...
"""

import runpy
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from aligngap.config import evaluator

HERE = Path(__file__).parent
STUDY = runpy.run_path(str(HERE / "study.py"))
RECIPE = runpy.run_path(str(HERE.parent / "alignclip_vit_b16_cc12m.py"))["get_config"]
RATES = (5e-4, 1e-3, 2e-3)
SEEDS = range(3)


def get_config(part: str = "main") -> ConfigDict:
    """CLIP whose towers have one shape, so that they may be tied; mixed search is measured too."""
    config: ConfigDict = RECIPE("clip")
    config.evaluators.search = evaluator("search")
    if part == "rates":
        config.steps //= 10
    return config


def sweep(part: str = "main") -> dict[str, dict[str, Any]]:
    """The points of a part."""
    rates, seeds = (RATES, (0,)) if part == "rates" else ((1e-3,), SEEDS)
    found: dict[str, dict[str, Any]] = STUDY["points"](
        seeds, dict.fromkeys(STUDY["METHODS"], rates)
    )
    return found
