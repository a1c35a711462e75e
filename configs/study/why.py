"""Why a tied encoder with CUAXU: its parts alone and together, and what it is trained with.

    aligngap train --config=configs/study/why.py --sweep --at_once=2 --workdir=runs/study/why
    aligngap evaluate --workdir=runs/study/why --at_once=2
    aligngap study why --workdir=runs/study/why --output=configs/study/why

Half of quickstart's length, one learning rate, `validation` alone: 44 points for each of two seeds.
"""

import itertools
import runpy
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from aligngap.presets import PRESETS

SEEDS = range(2)
STEPS, BATCH, RATE, WARMUP = 390, 256, 2e-3, 80
TIES = {"untied": {}, "tied": PRESETS["sharedclip"]}
LOSSES = {"a": "alignment", "u": "uniformity", "x": "cross_uniformity"}
WEIGHTS = (0.25, 4.0)  # Beside 1, and the 0 of a part left out.
SCALES = (5.0, 10.0, 20.0, 50.0)  # 1/τ, not learnt.
BATCHES = (64, 1024)
SIZES = (32, 64, 128, 512)


def get_config() -> ConfigDict:
    """Quickstart's CLIP, half as long, and evaluated on `validation` alone."""
    quickstart = Path(__file__).parents[1] / "quickstart.py"
    config: ConfigDict = runpy.run_path(str(quickstart))["get_config"]("clip")
    config.steps, config.optimizer.peak_lr, config.optimizer.warmup_steps = STEPS, RATE, WARMUP
    config.objective.label_smoothing = 0.0  # As in study.py.
    for entry in config.evaluators.values():
        entry.final = "validation"
    return config


def sweep() -> dict[str, dict[str, Any]]:
    """The points, seed by seed, so that what is there is complete for some."""
    return {
        f"{name}-seed{seed}": {"name": name, "seed": seed, **fields}
        for seed in SEEDS
        for name, fields in _parts().items()
    }


def _parts() -> dict[str, dict[str, Any]]:
    """All sixteen choices of the four parts; then one knob at a time."""
    found: dict[str, dict[str, Any]] = {}
    for tie, chosen in itertools.product(TIES, itertools.product((False, True), repeat=3)):
        letters = "".join(itertools.compress(LOSSES, chosen))
        found[f"{tie}_{letters or 'none'}"] = TIES[tie] | _weights(letters, 1.0)
    plain, whole = found["untied_none"], found["tied_aux"]
    for letters, weight in itertools.product([*LOSSES, "aux"], WEIGHTS):
        found[f"tied_aux_{letters}{weight:g}"] = whole | _weights(letters, weight)
    for (name, fields), scale in itertools.product(
        (("untied_none", plain), ("tied_aux", whole)), SCALES
    ):
        fixed = {"objective.temperature": "fixed", "model.scale_init": scale}
        found[f"{name}_scale{scale:g}"] = fields | fixed
    for name, fields in (("untied_none", plain), ("tied_aux", whole)):
        found |= {f"{name}_batch{size}": fields | _batch(size) for size in BATCHES}
        found |= {f"{name}_size{size}": fields | {"model.embed_dim": size} for size in SIZES}
    return found


def _weights(letters: str, weight: float) -> dict[str, Any]:
    return {f"objective.{LOSSES[letter]}_weight": weight for letter in letters}


def _batch(size: int) -> dict[str, Any]:
    """As many images in all; Adam's rate with the root of the batch."""
    times = size / BATCH
    return {
        "batch_size": size,
        "steps": round(STEPS / times),
        "optimizer.warmup_steps": round(WARMUP / times),
        "optimizer.peak_lr": RATE * times**0.5,
    }
