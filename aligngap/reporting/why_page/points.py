"""Which runs of a sweep answer which question: by what their configs are, not by their names."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
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
BATCH = 256  # Learning rates are told as they would be at this batch: they go with its root.


class Knobs(NamedTuple):
    """What a run was trained with beside its parts; `scale` is None where it is learnt."""

    scale: float | None
    batch: int
    size: int
    rate: float


@dataclass(frozen=True)
class Point:
    """A method: its weights of PARTS, its knobs, and measure → a value of each run."""

    method: str
    weights: tuple[float, ...]
    knobs: Knobs
    steps: int
    values: Mapping[str, Float[np.ndarray, "S"]]


Series = dict[float, Point]  # By what is turned, ascending.


@dataclass(frozen=True)
class Points:
    """Of one sweep, all of them measured on SPLIT."""

    found: tuple[Point, ...]
    own: Mapping[str, Knobs]  # Of MODELS as they are.
    steps: int  # Of those.

    @property
    def rates(self) -> tuple[float, ...]:
        """Those at which there are combinations of the parts, ascending."""
        return tuple(sorted({x.knobs.rate for x in self.found if self._plain(x)}))

    def cells(self, rate: float) -> dict[tuple[bool, ...], Point]:
        """At a learning rate, those in which each part is there by weight 1 or not at all."""
        return {
            tuple(map(bool, each.weights)): each
            for each in self.found
            if each.knobs.rate == rate and self._plain(each) and {*each.weights} <= {0.0, 1.0}
        }

    def turned(self, knob: str) -> dict[str, Series]:
        """Model → its runs by one of the knobs, the others as they are; a learnt scale is none.
        Other batches see as many images; those that take as many steps are a series beside them."""
        found = {model: self._turned(model, knob) for model in self.own}
        if knob == "batch":
            further = {f"{x}, as many steps": self._turned(x, knob, alike=True) for x in self.own}
            found |= {name: series for name, series in further.items() if len(series) > 1}
        return found

    def weighed(self) -> dict[str, Series]:
        """Loss → tied CUAXU by its weight, the others at 1; "all three" → by that of all."""
        own = self.own.get("tied CUAXU")
        tied = [x for x in self.found if x.knobs == own and x.weights[0]]
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
        own = self.own.get(name)
        return next((x for x in self.found if x.knobs == own and x.weights == MODELS[name]), None)

    def _turned(self, model: str, knob: str, alike: bool = False) -> Series:
        own = self.own[model]
        return _ascending(
            (float(getattr(each.knobs, knob)), each)
            for each in self.found
            if each.weights == MODELS[model]
            and getattr(each.knobs, knob) is not None
            and each.knobs._replace(**{knob: getattr(own, knob)}) == own
            and (each.knobs.batch == own.batch or alike == (each.steps == self.steps))
        )

    def _plain(self, point: Point) -> bool:
        """Whether nothing but its parts, and its learning rate, is turned."""
        return any(point.knobs._replace(rate=own.rate) == own for own in self.own.values())


def read(measured: Measured) -> Points:
    """AligngapError where CLIP as it is is not among the runs, or a run has other parts."""
    found = [_point(measured, name) for name in measured.study.methods]
    # These are those of most; a model's own learning rate is that of most of its runs.
    batch, size = (_most(getattr(x.knobs, knob) for x in found) for knob in ("batch", "size"))
    steps = int(_most(x.steps for x in found))
    own = {
        model: Knobs(None, int(batch), int(size), _most(rates))
        for model, weights in MODELS.items()
        if (rates := [x.knobs.rate for x in found if x.weights == weights])
    }
    points = Points(tuple(found), own, steps)
    plain = points.model("CLIP")
    if plain is None:
        raise AligngapError("no run of CLIP as it is: train configs/study/why.py's untied_none")
    _check(measured.study, plain.method)
    return points


def _most(values: Iterable[float]) -> float:
    """The most frequent one, of equally frequent ones the least."""
    return min(Counter(values).items(), key=lambda each: (-each[1], each[0]))[0]


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
    return Point(name, weights, _knobs(runs[0]), runs[0].step, values)


def _knobs(run: Run) -> Knobs:
    learnt = run.config["objective.temperature"] == "learned"
    scale = None if learnt else float(run.config["model.scale_init"])
    batch, size = int(run.config["batch_size"]), int(run.config["model.embed_dim"])
    rate = run.config["optimizer.peak_lr"] * math.sqrt(BATCH / batch)
    return Knobs(scale, batch, size, float(f"{rate:.6g}"))


def _ascending(found: Iterator[tuple[float, Point]]) -> Series:
    return dict(sorted(found, key=lambda each: each[0]))
