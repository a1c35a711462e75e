"""A run as the folder of a study keeps it: all measures, and how they move with the items drawn.

results.json has an object a run, draws/METHOD-seedN.npz what each draw of a test's items would have
given. So a page can be made of runs that were trained elsewhere and are gone.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from aligngap import atomic, json_text
from aligngap import config as configs
from aligngap.errors import AligngapError
from aligngap.json_text import NUMBER
from aligngap.reporting.compare_page.methods import Evaluated, is_one_of
from aligngap.reporting.run_page.runs import TRAIN, reading
from aligngap.reporting.study_page import drawing, published
from aligngap.runs import provenance, workdir
from aligngap.tasks.intervals import RESAMPLES

RESULTS, DRAWS = "results.json", "draws"
MADE_BY = "aligngap study --workdir=SWEEP --output=NEW"
DIGITS = 6  # Of a measure in results.json.
ELSEWHERE = ("data.data_dir", "init_from")  # Fields that say where things lie on one machine.
# In these runs of one method may differ.
APART = ("name", "seed", *configs.FREE_TO_CHANGE)
# Draws are kept as int8, in so many steps a standard deviation: rounding adds 1 / (12 · 8²), an
# eighth of a per cent, to their variance.
STEPS = 8
# What pages read of a run's config, by dotted keys, and of its object.
CONFIG = {"name": str, "seed": int, "optimizer.peak_lr": NUMBER}
GRID = [f"{delta:g}" for delta in (*published.SHIFTED["both"], 0.0)]
FORM = {
    "method": str,
    "seed": int,
    "step": int,
    "measures": {str: {str: {str: NUMBER | None}}},
    "logit_scale": NUMBER | None,
    "config": CONFIG,
    "evaluators": dict,
    "splits": {str: str},
    "items": {str: str},
}
SHIFTED = {"shifted": dict.fromkeys(published.SHIFTED, dict.fromkeys(GRID, NUMBER))}  # Of some.
# Arrays that come together; N is any number.
DRAWN = {"measures": ("N",), "step": ("N",), "moved": ("N", RESAMPLES)}
PLANE = {"plane_image": ("N", 2), "plane_text": ("N", 2), "plane_shares": (2,)}

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Wanted:
    """What a page needs beside the measures: measures by split whose items are drawn, the split
    whose pairs are shown in their plane, the one along whose gap CLIP is moved."""

    drawn: Mapping[str, Sequence[str]] = field(default_factory=dict)
    plane: str = ""
    shifted: str = ""


@dataclass(frozen=True)
class Run:
    """The object of results.json, and arrays beside it."""

    about: dict[str, Any]
    arrays: Arrays

    @property
    def name(self) -> str:
        """METHOD-seedN, as its file is called."""
        return f"{self.method}-seed{self.seed}"

    @property
    def method(self) -> str:
        return str(self.about["method"])

    @property
    def seed(self) -> int:
        return int(self.about["seed"])

    @property
    def step(self) -> int:
        return int(self.about["step"])

    @property
    def config(self) -> dict[str, Any]:
        """By dotted keys."""
        return dict(self.about["config"])

    @property
    def fields(self) -> dict[str, Any]:
        """Those that make a method, and the step: equal for its seeds."""
        own = {key: x for key, x in self.config.items() if not is_one_of(key, APART)}
        return {**own, "step": self.step}

    def value(self, split: str, measure: str) -> float | None:
        """EVALUATOR/NAME on a split; None where it was not measured."""
        evaluator, _, name = measure.partition("/")
        found = self.about["measures"].get(split, {}).get(evaluator, {}).get(name)
        return None if found is None else float(found)

    def drawn(self, split: str, measure: str) -> Float[np.ndarray, "R"] | None:
        """That measure in draws of its items; None where items are not known."""
        row, value = self._rows.get(f"{split} {measure}"), self.value(split, measure)
        if row is None or value is None:
            return None
        moved: np.ndarray = self.arrays["moved"][row] * self.arrays["step"][row]
        return value + moved.astype(np.float64)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {str(name): row for row, name in enumerate(self.arrays.get("measures", ()))}


def of(run: Evaluated, wanted: Wanted) -> Run:
    """The record of an evaluated run, which takes some seconds where items are drawn."""
    arrays = _draws(run, wanted.drawn)
    if wanted.plane in run.splits:
        arrays |= drawing.plane(run, wanted.plane)
    return Run(_about(run, wanted), arrays)


def load(folder: Path) -> list[Run]:
    """Those that the folder keeps, none where it has no results.json; AligngapError where one is
    damaged."""
    if not (folder / RESULTS).is_file():
        return []
    found = []
    with reading(folder / RESULTS, MADE_BY) as path:
        listed = json_text.value(path.read_text("utf-8"))
        json_text.expect(listed, [FORM])
        for about in listed:
            json_text.expect(about, SHIFTED if "shifted" in about else {})
            _expect_name(about["method"])
            run = Run(about, {})
            with reading(folder / DRAWS / f"{run.name}.npz", MADE_BY) as file:
                found.append(Run(about, _arrays(file)))
    return found


def save(folder: Path, runs: Iterable[Run]) -> None:
    """Writes them; results.json, which says what there is, last."""
    lines = []
    for run in runs:
        file = folder / DRAWS / f"{run.name}.npz"
        packed = io.BytesIO()
        np.savez_compressed(packed, allow_pickle=False, **run.arrays)
        if not file.is_file() or file.read_bytes() != packed.getvalue():
            atomic.write(file, packed.getvalue())
        lines.append(json.dumps(run.about))
    atomic.write(folder / RESULTS, "[\n" + ",\n".join(lines) + "\n]\n")


def check_alike(runs: Sequence[Run]) -> None:
    """AligngapError where they were not evaluated on the same items by the same evaluators."""
    for other in runs[1:]:
        for what in ("items", "evaluators"):
            if other.about[what] != runs[0].about[what]:
                raise AligngapError(
                    f"{runs[0].name} and {other.name} were evaluated differently ({what}): "
                    "evaluate all of them alike, or write to another folder"
                )


def _arrays(file: Path) -> dict[str, np.ndarray]:
    """Those of a run; ValueError, or KeyError for one that is missing, where they do not fit."""
    with np.load(file, allow_pickle=False) as packed:
        arrays = dict(packed)
    for together in (DRAWN, PLANE):
        if together.keys() & arrays.keys():
            rows = len(arrays[next(iter(together))])
            for name, shape in together.items():
                _expect_array(name, arrays[name], [rows if x == "N" else x for x in shape])
    return arrays


def _expect_array(name: str, array: np.ndarray, shape: Sequence[int | str]) -> None:
    if [*array.shape] != shape or array.dtype.kind not in ("U" if name == "measures" else "if"):
        raise ValueError(f"{name} is {array.dtype} {list(array.shape)}, expected {shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} has a number that is not finite")


def _expect_name(method: str) -> None:
    """ValueError where it cannot be part of a file's name."""
    if Path(method).name != method:
        raise ValueError(f"{method!r} is no name of a method")


def _about(run: Evaluated, wanted: Wanted) -> dict[str, Any]:
    """All measures, split → evaluator → name; the config, and what it was made with."""
    with reading(run.workdir / "config.json", TRAIN):
        json_text.expect(configs.keys(run.config), CONFIG)
        _expect_name(run.config["name"])
    evaluation = workdir.read_json(run.workdir / "evaluation.json")
    measures = {
        split: {
            evaluator: {name: round(x.value, DIGITS) for name, x in found.items()}
            for evaluator, found in values.values.items()
        }
        for split, values in run.splits.items()
    }
    versions = dict(evaluation["versions"])
    own = {
        "method": run.config["name"],
        "seed": run.config["seed"],
        "step": run.step,
        "commit": {
            "training": provenance.commits(run.workdir),
            "evaluation": versions.pop("commit", ""),
        },
        "versions": versions,
        "measures": measures,
        "logit_scale": drawing.logit_scale(run),
        "config": {k: x for k, x in configs.keys(run.config).items() if k not in ELSEWHERE},
        "evaluators": run.evaluators,
        "splits": {split: values.title for split, values in run.splits.items()},
        "items": {split: _digest(run.items(split)) for split in run.splits},
    }
    if wanted.shifted in run.splits:
        own["shifted"] = drawing.shifted(run, wanted.shifted)
    return dict(json.loads(atomic.as_json(own)))  # As it is read again.


def _digest(arrays: Sequence[np.ndarray]) -> str:
    """Of what a split is made of."""
    found = hashlib.sha256()
    for array in arrays:
        text = array.dtype.kind == "U"
        found.update("\0".join(array.tolist()).encode() if text else array.astype("<i8").tobytes())
    return found.hexdigest()[:16]


def _draws(run: Evaluated, wanted: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    """Rows of draws less their value, as int8, with the size of a step of each."""
    found = {
        f"{split} {measure}": moved
        for split, measures in wanted.items()
        if split in run.splits
        for measure, moved in drawing.moved(run, split, measures).items()
    }
    if not found:
        return {}
    rows = np.stack([*found.values()])
    step = rows.std(axis=1, keepdims=True) / STEPS
    step[step == 0] = 1.0
    moved = np.clip(np.rint(rows / step), -127, 127).astype(np.int8)
    return {"measures": np.array([*found]), "step": step[:, 0], "moved": moved}
