"""The evaluated runs of a sweep, which of them are seeds of one method, and results.json."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aligngap import config as configs
from aligngap.errors import AligngapError
from aligngap.reporting.compare_page import methods
from aligngap.reporting.compare_page.methods import Evaluated
from aligngap.runs import provenance, sweep, workdir

DIGITS = 6  # Of a measure in results.json.
ELSEWHERE = ("data.data_dir", "init_from")  # Fields that say where things lie on one machine.
# Name of a method → what the page calls it, in the order of its tables; configs/study/study.py says
# what each is.
LABELS = {
    "clip": "CLIP",
    "sharedclip": "SharedCLIP",
    "alignclip": "AlignCLIP",
    "alignclip_both": "AlignCLIP with texts separated too",
    "alignclip_unscaled": "AlignCLIP without re-scaling",
    "separation_untied": "separation without tying",
    "cua": "CUA",
    "cuaxu": "CUAXU",
    "cua_tied": "tied CUA",
    "cuaxu_tied": "tied CUAXU",
    "scheduled": "scheduled τ",
    "soft_swap": "soft swapping",
    "cl_gap": "CL_gap",
    "cauchy_schwarz": "CS-Aligner",
    "siglip": "SigLIP's loss",
    "siglip_relative": "SigLIP's loss with relative bias",
}


@dataclass(frozen=True)
class Study:
    """Method → its evaluated runs by their seeds; the points of the sweep that are not there."""

    methods: dict[str, tuple[Evaluated, ...]]
    left: tuple[str, ...]

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that every run was evaluated on."""
        return tuple(next(iter(self.methods.values()))[0].splits)

    def title(self, split: str) -> str:
        """As tables call it."""
        first = next(iter(self.methods.values()))[0]
        return first.splits[split].title


def label(method: str) -> str:
    """What the page calls it."""
    return LABELS.get(method, method)


def read(folders: Sequence[Path]) -> Study:
    """Of sweeps and runs; AligngapError where none is evaluated, or not alike, or where the runs of
    a method differ in more than their seeds."""
    points = [each for folder in folders for each in sweep.workdirs(folder)]
    there = sweep.evaluated(folders)
    left = tuple(each.name for each in points if each not in there)
    found: dict[str, tuple[Evaluated, ...]] = {}
    for method in methods.methods(methods.read(there)):
        name = str(method.runs[0].config["name"])
        if name in found:
            one, other = found[name][0].workdir, method.runs[0].workdir
            raise AligngapError(
                f"{one} and {other} are both called {name}, and differ in more than their seeds "
                f"({method.label}): name them apart, or give the folders of one of them"
            )
        runs = sorted(method.runs, key=lambda run: int(run.config["seed"]))
        seeds = [run.config["seed"] for run in runs]
        if len({*seeds}) < len(seeds):
            raise AligngapError(f"{name} has two runs of one seed ({seeds}): give each seed once")
        found[name] = tuple(runs)
    order = [*(name for name in LABELS if name in found), *(n for n in found if n not in LABELS)]
    return Study({name: found[name] for name in order}, left)


def results(study: Study) -> str:
    """results.json: a list of objects, a line each."""
    lines = (json.dumps(_object(run)) for runs in study.methods.values() for run in runs)
    return "[\n" + ",\n".join(lines) + "\n]\n"


def _object(run: Evaluated) -> dict[str, Any]:
    """One run: all measures, split → evaluator → name; its config, and what it was made with."""
    evaluation = workdir.read_json(run.workdir / "evaluation.json")
    measures = {
        split: {
            evaluator: {name: round(x.value, DIGITS) for name, x in found.items()}
            for evaluator, found in values.values.items()
        }
        for split, values in run.splits.items()
    }
    versions = dict(evaluation["versions"])
    return {
        "method": run.config["name"],
        "seed": run.config["seed"],
        "step": run.step,
        "commit": {
            "training": provenance.commits(run.workdir),
            "evaluation": versions.pop("commit", ""),
        },
        "versions": versions,
        "measures": measures,
        "config": {k: x for k, x in configs.keys(run.config).items() if k not in ELSEWHERE},
        "evaluators": run.evaluators,
    }
