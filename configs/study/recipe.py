"""What was tried for the recipe: a tied encoder, and how much of each loss it is trained with.

    aligngap train --config=configs/study/recipe.py --sweep --at_once=2 --workdir=runs/study/recipe
    aligngap evaluate --workdir=runs/study/recipe --at_once=2

Half of the study's length, one seed, `validation` alone, as configs/study/why.py.
"""

import runpy
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from aligngap.presets import PRESETS

# Weights of alignment, uniformity, cross-uniformity and separation → learning rates.
TRIED = {
    (1.0, 1.0, 0.0, 0.0): (1e-3, 2e-3),
    (1.0, 1.0, 0.5, 0.0): (2e-3, 4e-3),
    (0.5, 0.5, 0.0, 0.0): (1e-3, 2e-3),
    (0.5, 0.5, 0.5, 0.0): (2e-3, 4e-3),
    (0.25, 0.25, 0.0, 0.0): (1e-3, 2e-3),
    (1.0, 1.0, 0.0, 0.25): (1e-3,),
    (1.0, 1.0, 1.0, 0.25): (4e-3,),
}
FIELDS = tuple(
    f"objective.{loss}_weight"
    for loss in ("alignment", "uniformity", "cross_uniformity", "separation")
)


def get_config() -> ConfigDict:
    """As in why.py."""
    own = Path(__file__).with_name("why.py")
    config: ConfigDict = runpy.run_path(str(own))["get_config"]()
    return config


def sweep() -> dict[str, dict[str, Any]]:
    """The points, named by their weights."""
    found: dict[str, dict[str, Any]] = {}
    for weights, rates in TRIED.items():
        letters = "".join(f"{x}{w:g}" for x, w in zip("auxs", weights, strict=True) if w)
        for rate in rates:
            found[f"tied_{letters}-lr{rate:g}"] = {
                "name": f"tied_{letters}",
                "optimizer.peak_lr": rate,
                **PRESETS["sharedclip"],
                **dict(zip(FIELDS, weights, strict=True)),
            }
    return found
