"""Which runs of a sweep answer which question: by what their configs are, not by their names."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from aligngap.errors import AligngapError
from aligngap.reporting.study_page import claims
from aligngap.reporting.study_page.measured import Measured
from aligngap.reporting.study_page.records import Run
from aligngap.reporting.study_page.runs import Study

SPLIT = "validation"
PARTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "tying": lambda c: c["model.tie"] != "none",
    "alignment": lambda c: c["objective.alignment_weight"],
    "uniformity": lambda c: c["objective.uniformity_weight"],
    "cross-uniformity": lambda c: c["objective.cross_uniformity_weight"],
}
MEASURES = {
    "distance of the centroids": claims.GAP,
    "R@10, mean of both directions": claims.RETRIEVAL,
    "NDCG@10, p = .5": ("search/ndcg@10/p0.5",),
    "same-modality neighbours": claims.NEIGHBOURS,
    "effective rank, images": ("gap/effective_rank_image",),
    "effective rank, texts": ("gap/effective_rank_text",),
}
SCALE = "logit scale at the end"
# Fields in which these runs may differ: the parts, the knobs, and what goes with a batch.
TURNED = (
    *("step", "steps", "batch_size", "model.tie", "model.embed_dim", "model.scale_init"),
    *("objective.temperature", "optimizer.peak_lr", "optimizer.warmup_steps"),
    *(f"objective.{loss}_weight" for loss in ("alignment", "uniformity", "cross_uniformity")),
)
MODELS = {"CLIP": (0.0, 0.0, 0.0, 0.0), "tied CUAXU": (1.0, 1.0, 1.0, 1.0)}


class Knobs(NamedTuple):
    """What a run was trained with beside its parts; `scale` is None where it is learnt."""

    scale: float | None
    batch: int
    size: int


@dataclass(frozen=True)
class Point:
    """A method: its weights of PARTS, its knobs, and measure → a value of each run."""

    method: str
    weights: tuple[float, ...]
    knobs: Knobs
    values: Mapping[str, Float[np.ndarray, "S"]]


Series = dict[float, Point]  # By what is turned, ascending.


@dataclass(frozen=True)
class Points:
    """Of one sweep, all of them measured on SPLIT."""

    found: tuple[Point, ...]
    base: Knobs  # Of CLIP as it is.

    def cells(self) -> dict[tuple[bool, ...], Point]:
        """Those in which each part is there by weight 1 or not at all."""
        return {
            tuple(map(bool, each.weights)): each
            for each in self.found
            if each.knobs == self.base and {*each.weights} <= {0.0, 1.0}
        }

    def turned(self, knob: str) -> dict[str, Series]:
        """Model → its runs by one of the knobs, the others as in CLIP; a learnt scale is none."""
        return {
            model: _ascending(
                (float(getattr(each.knobs, knob)), each)
                for each in self.found
                if each.weights == weights
                and getattr(each.knobs, knob) is not None
                and each.knobs._replace(**{knob: getattr(self.base, knob)}) == self.base
            )
            for model, weights in MODELS.items()
        }

    def weighed(self) -> dict[str, Series]:
        """Loss → tied CUAXU by its weight, the others at 1; "all three" → by that of all."""
        tied = [x for x in self.found if x.knobs == self.base and x.weights[0]]
        losses = {
            name: _ascending(
                (x.weights[place], x)
                for x in tied
                if all(w == 1.0 for n, w in enumerate(x.weights) if n != place)
            )
            for place, name in enumerate(PARTS)
            if place
        }
        return losses | {
            "all three": _ascending((x.weights[1], x) for x in tied if len({*x.weights[1:]}) == 1)
        }

    def model(self, name: str) -> Point | None:
        """CLIP or tied CUAXU as they are."""
        return self.cells().get(tuple(map(bool, MODELS[name])))


def read(measured: Measured) -> Points:
    """AligngapError where CLIP as it is is not among the runs, or a run has other parts."""
    found = [_point(measured, name) for name in measured.study.methods]
    plain = [x for x in found if x.weights == MODELS["CLIP"] and x.knobs.scale is None]
    if not plain:
        raise AligngapError("no run of CLIP as it is: train configs/study/why.py's untied_none")
    # Its batch and size are those of most.
    knobs = [x.knobs for x in found]
    base = max(plain, key=lambda x: knobs.count(x.knobs))
    _check(measured.study, base.method)
    return Points(tuple(found), base.knobs)


def _check(study: Study, plain: str) -> None:
    own = study.methods[plain][0].fields
    for run, *_ in study.methods.values():
        others = {key for key in {*own} | {*run.fields} if own.get(key) != run.fields.get(key)}
        if further := sorted(others - {*TURNED}):
            raise AligngapError(
                f"{run.name} differs from CLIP in {', '.join(further)}: give runs of "
                "configs/study/why.py alone"
            )


def _point(measured: Measured, name: str) -> Point:
    runs = measured.study.methods[name]
    values = {
        words: x
        for words, names in MEASURES.items()
        if (x := measured.values(name, SPLIT, names)) is not None
    }
    scales = [run.about["logit_scale"] for run in runs]
    values[SCALE] = np.array([math.nan if x is None else x for x in scales])
    config = runs[0].config
    weights = tuple(float(weight(config)) for weight in PARTS.values())
    return Point(name, weights, _knobs(runs[0]), values)


def _knobs(run: Run) -> Knobs:
    learnt = run.config["objective.temperature"] == "learned"
    scale = None if learnt else float(run.config["model.scale_init"])
    return Knobs(scale, int(run.config["batch_size"]), int(run.config["model.embed_dim"]))


def _ascending(found: Iterator[tuple[float, Point]]) -> Series:
    return dict(sorted(found, key=lambda each: each[0]))
