"""What was tried for the recipe: a tied encoder, and how much of each loss it is trained with.

    aligngap train --config=configs/study/recipe.py --sweep --at_once=2 --workdir=runs/study/recipe
    aligngap evaluate --workdir=runs/study/recipe --at_once=2

Half of the study's length, one seed, `validation` alone, as configs/study/why.py; recipe.py:full
has the best of these at full length, with two seeds.
"""

import runpy
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from aligngap.presets import PRESETS

Weights = tuple[float, float, float, float]
# Weights of alignment, uniformity, cross-uniformity and separation → learning rates.
TRIED: dict[Weights, tuple[float, ...]] = {
    (1.0, 1.0, 0.0, 0.0): (1e-3, 2e-3),
    (1.0, 1.0, 0.5, 0.0): (2e-3, 4e-3),
    (0.5, 0.5, 0.0, 0.0): (1e-3, 2e-3),
    (0.5, 0.5, 0.5, 0.0): (2e-3, 4e-3),
    (0.25, 0.25, 0.0, 0.0): (1e-3, 2e-3),
    (1.0, 1.0, 0.0, 0.25): (1e-3,),
    (1.0, 1.0, 1.0, 0.25): (4e-3,),
}
BEST: tuple[tuple[Weights, float], ...] = (((0.5, 0.5, 0.0, 0.0), 2e-3),)
FIELDS = tuple(
    f"objective.{loss}_weight"
    for loss in ("alignment", "uniformity", "cross_uniformity", "separation")
)


def get_config(part: str = "half") -> ConfigDict:
    """As in why.py, or twice as long."""
    if part not in ("half", "full"):
        raise ValueError(f"no part {part!r}: half, full")
    own = Path(__file__).with_name("why.py")
    config: ConfigDict = runpy.run_path(str(own))["get_config"]()
    config.steps *= 2 if part == "full" else 1
    return config


def sweep(part: str = "half") -> dict[str, dict[str, Any]]:
    """The points, named by their weights."""
    if part == "full":
        return dict(_point(*each, seed) for seed in (0, 1) for each in BEST)
    return dict(_point(weights, rate, 0) for weights, rates in TRIED.items() for rate in rates)


def _point(weights: Weights, rate: float, seed: int) -> tuple[str, dict[str, Any]]:
    letters = "".join(f"{x}{w:g}" for x, w in zip("auxs", weights, strict=True) if w)
    return f"tied_{letters}-lr{rate:g}-seed{seed}", {
        "name": f"tied_{letters}",
        "optimizer.peak_lr": rate,
        "seed": seed,
        **PRESETS["sharedclip"],
        **dict(zip(FIELDS, weights, strict=True)),
    }
