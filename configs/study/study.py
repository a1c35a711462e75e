"""The study: the papers' methods, and newer ones, trained alike on pictograms at quickstart's size.

    aligngap train --config=configs/study/study.py:rates --sweep --workdir=runs/study/rates
    aligngap study rates --workdir=runs/study/rates
    aligngap train --config=configs/study/study.py:main --sweep --workdir=runs/study/main

Parts: `settings`, what methods have beside their learning rate; `rates`, each method at two
learning rates and at as many further ones as it takes for the best to lie between two others, one
seed; both with half as many steps. `study rates` prints what each reached, and which rate a method
is to have in `main` (CHOSEN): by the mean of R@10 in both directions on `validation`. `main` has
five seeds, eight of the methods that are compared by name. All can be stopped and started again,
and on two cores `--at_once=2` takes two thirds of the time.

Then, also while runs are still to come: evaluators.py beside this file, and `aligngap study`, which
makes README.md here and keeps what it is made of: runs that it has once read need not be there.
The runs here were probed with logistic regression that stopped earlier than today's: of ten runs in
three splits each top 1 is within .010 of today's, .002 on average.
"""

import runpy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from aligngap.presets import PRESETS

RATES = (1e-3, 2e-3)
# By factors of two, where the best was at an end.
BEYOND: dict[str, tuple[float, ...]] = {
    **dict.fromkeys(("clip", "sharedclip", "alignclip_both", "cua", "cua_tied"), (5e-4,)),
    **dict.fromkeys(("alignclip", "alignclip_unscaled", "cuaxu"), (4e-3,)),
    "separation_untied": (5e-4, 4e-3),
    **dict.fromkeys(("scheduled", "siglip", "siglip_relative", "cauchy_schwarz"), (5e-4,)),
    "soft_swap": (2.5e-4, 5e-4),
    "cl_gap": (4e-3,),
    "cuaxu_tied": (4e-3, 8e-3),
}
SEEDS, FURTHER_SEEDS = range(5), range(5, 8)
SHORT = ("rates", "settings")  # Half as long.
HEADLINE = ("clip", "alignclip", "cua_tied")  # These have the further seeds.
# What `settings` tries, each at SETTINGS_RATE: methods, a field, its values, seeds. R@10 by it, the
# mean of its seeds: of label smoothing 0 and .1 .258 and .241 (CLIP), .218 and .222 (AlignCLIP),
# .220 and .217 (tied CUAXU): there is none. Of the divergence's weights 1, .1 and .01 .042 (all
# embeddings become one), .245 and .244; of r from 0, .6 and 1 .070 (all cosines go to -1 first),
# .211 and .248.
SETTINGS = (
    (("clip", "alignclip", "cuaxu_tied"), "objective.label_smoothing", (0.0, 0.1), (0, 1)),
    (("cauchy_schwarz",), "objective.cauchy_schwarz_weight", (1.0, 0.1, 0.01), (0,)),
    (("siglip_relative",), "model.bias_init", (0.0, 0.6, 1.0), (0,)),
)
SETTINGS_RATE = 1e-3
# Method → rate, as `aligngap study rates` prints it.
CHOSEN = {
    **dict.fromkeys(("clip", "sharedclip", "alignclip_both", "cua", "cua_tied"), 1e-3),
    **dict.fromkeys(("scheduled", "siglip", "siglip_relative", "cauchy_schwarz"), 1e-3),
    **dict.fromkeys(("alignclip", "alignclip_unscaled", "cuaxu", "cl_gap"), 2e-3),
    "separation_untied": 1e-3,
    "soft_swap": 5e-4,
    "cuaxu_tied": 4e-3,
}
TIED = PRESETS["sharedclip"]
# Name → what it changes in CLIP. [AC], [CG], [YA], [SL], [CL], [CS], [RB]: aligngap/config.py.
METHODS: dict[str, dict[str, Any]] = {
    "clip": {},
    "sharedclip": TIED,
    "alignclip": PRESETS["alignclip"],
    "alignclip_both": PRESETS["alignclip"] | {"objective.separated": ("image", "text")},
    "alignclip_unscaled": PRESETS["alignclip"] | {"objective.semantic_rescaling": False},
    "separation_untied": {"objective.separation_weight": 0.25},  # Not in [AC].
    "cua": PRESETS["cua"],
    "cuaxu": PRESETS["cuaxu"],
    "cua_tied": PRESETS["cua_tied"],
    "cuaxu_tied": TIED | PRESETS["cuaxu"],
    "scheduled": {"objective.temperature": "scheduled"},
    "soft_swap": {"objective.swap": "soft", "objective.swap_share": 0.05},
    "siglip": PRESETS["siglip"],
    "siglip_relative": PRESETS["siglip_relative"],
    "cl_gap": PRESETS["cl_gap"],
    "cauchy_schwarz": {"objective.cauchy_schwarz_weight": 0.1},
}


def get_config(part: str = "main") -> ConfigDict:
    """Quickstart's CLIP, half as long where something is chosen."""
    if part not in ("main", *SHORT):
        raise ValueError(f"no part {part!r}: main, {', '.join(SHORT)}")
    quickstart = Path(__file__).parents[1] / "quickstart.py"
    config: ConfigDict = runpy.run_path(str(quickstart))["get_config"]("clip")
    if part in SHORT:
        config.steps //= 2
    return config


def sweep(part: str = "main") -> dict[str, dict[str, Any]]:
    """The points of a part."""
    if part == "rates":
        return points((0,), {m: sorted([*RATES, *BEYOND.get(m, ())]) for m in METHODS})
    if part == "settings":
        return _settings()
    chosen = {method: (CHOSEN[method],) for method in METHODS}
    further = {method: chosen[method] for method in HEADLINE}
    return points(SEEDS, chosen) | points(FURTHER_SEEDS, further)


def points(seeds: Iterable[int], rates: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """Each method with its rates; seed by seed, so that what is there is complete for some."""
    return {
        f"{method}-lr{rate:g}-seed{seed}": {
            "name": method,
            "optimizer.peak_lr": rate,
            "seed": seed,
            **METHODS[method],
        }
        for seed in seeds
        for method, own in rates.items()
        for rate in own
    }


def _settings() -> dict[str, dict[str, Any]]:
    return {
        f"{method}-{field.rpartition('.')[2]}{value:g}-seed{seed}": {
            "name": f"{method}_{value:g}",
            "optimizer.peak_lr": SETTINGS_RATE,
            "seed": seed,
            **METHODS[method],
            field: value,
        }
        for methods, field, values, seeds in SETTINGS
        for seed in seeds
        for method in methods
        for value in values
    }
