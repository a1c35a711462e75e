"""Why a tied encoder with CUAXU: its parts alone and together, and what it is trained with.

    aligngap train --config=configs/study/why.py --sweep --at_once=2 --workdir=runs/study/why
    aligngap evaluate --workdir=runs/study/why --at_once=2
    aligngap study why --workdir=runs/study/why --output=configs/study/why

Half of quickstart's length, `validation` alone, two seeds. The parts in all combinations are tried
at two learning rates, since CLIP's best is a quarter of tied CUAXU's (study.py), knobs at each
model's own: 128 points.
"""

import itertools
import runpy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from aligngap.presets import PRESETS

SEEDS = range(2)
STEPS, BATCH, WARMUP = 390, 256, 80
RATES = CLIPS, OURS = 1e-3, 4e-3  # As chosen for CLIP and for tied CUAXU.
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
    config.steps, config.optimizer.warmup_steps = STEPS, WARMUP
    for entry in config.evaluators.values():
        entry.final = "validation"
    return config


def sweep() -> dict[str, dict[str, Any]]:
    """The points: all choices of the parts, seed by seed, then what is turned."""
    found: dict[str, dict[str, Any]] = {}
    for seed, rate, (name, fields) in itertools.product(SEEDS, RATES, _parts().items()):
        found |= _point(f"{name}-lr{rate:g}", seed, fields | {"optimizer.peak_lr": rate})
    turned = _temperatures() | _weighed() | _sized()
    for seed, (name, fields) in itertools.product(SEEDS, turned.items()):
        found |= _point(name, seed, fields)
    return found


def _point(name: str, seed: int, fields: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{name}-seed{seed}": {"name": name, "seed": seed, **fields}}


def _parts() -> dict[str, dict[str, Any]]:
    """All sixteen choices of the four parts."""
    return {
        f"{tie}_{''.join(chosen) or 'none'}": TIES[tie] | _weights(chosen, 1.0)
        for tie in TIES
        for count in range(len(LOSSES) + 1)
        for chosen in itertools.combinations(LOSSES, count)
    }


def _models() -> dict[str, dict[str, Any]]:
    """CLIP and tied CUAXU, each at its own rate."""
    return {
        f"{name}-lr{rate:g}": _parts()[name] | {"optimizer.peak_lr": rate}
        for name, rate in (("untied_none", CLIPS), ("tied_aux", OURS))
    }


def _temperatures() -> dict[str, dict[str, Any]]:
    return {
        f"{name}-scale{scale:g}": fields
        | {"objective.temperature": "fixed", "model.scale_init": scale}
        for name, fields in _models().items()
        for scale in SCALES
    }


def _weighed() -> dict[str, dict[str, Any]]:
    """Tied CUAXU with one weight turned, or all three."""
    (name, fields) = [*_models().items()][1]
    return {
        f"{name}-{letters}{weight:g}": fields | _weights(letters, weight)
        for letters, weight in itertools.product([*LOSSES, "aux"], WEIGHTS)
    }


def _sized() -> dict[str, dict[str, Any]]:
    """Batches and embeddings of other sizes."""
    found: dict[str, dict[str, Any]] = {}
    for name, fields in _models().items():
        for size in BATCHES:
            other = fields | _batch(size, fields["optimizer.peak_lr"])
            found[f"{name}-batch{size}"] = other | _as_many_images(size)
            found[f"{name}-batch{size}-steps{STEPS}"] = other
        for size in SIZES:
            found[f"{name}-size{size}"] = fields | {"model.embed_dim": size}
    return found


def _weights(letters: Iterable[str], weight: float) -> dict[str, Any]:
    return {f"objective.{LOSSES[letter]}_weight": weight for letter in letters}


def _batch(size: int, rate: float) -> dict[str, Any]:
    """Adam's rate with the root of the batch."""
    return {"batch_size": size, "optimizer.peak_lr": rate * (size / BATCH) ** 0.5}


def _as_many_images(size: int) -> dict[str, Any]:
    """As many as of BATCH, in other steps."""
    steps = {"steps": STEPS, "optimizer.warmup_steps": WARMUP}
    return {field: round(each * BATCH / size) for field, each in steps.items()}
