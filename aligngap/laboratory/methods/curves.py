"""What each method makes of mixed search: NDCG@10 of every judged item against the share p."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from aligngap import progress
from aligngap.errors import AligngapError
from aligngap.gap.transforms.methods import METHODS
from aligngap.laboratory.advise import candidates
from aligngap.laboratory.methods.rows import Halves, Model

BEFORE = "untransformed"
COMPARED = (BEFORE, "mean")  # With each of these every method is.
# Options that are chosen, each of these values; the others stay at their defaults.
TRIED: dict[str, tuple[float, ...]] = {
    "shrinkage": (0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95),
    "components": (1, 2, 4, 8, 16, 32, 64, 128, 192),
    "eigenvectors": (8, 16, 32, 64, 128),
}
Options = Mapping[str, float]


class Way(NamedTuple):
    """A method, and whether its scores are calibrated on top."""

    method: str
    calibrated: bool

    @property
    def name(self) -> str:
        """mean + calibration."""
        return f"{self.method}{' + calibration' * self.calibrated}"


@dataclasses.dataclass(frozen=True)
class Found:
    """The options of a way, and what it reached."""

    options: Options
    chosen_by: float | None  # Mean over items, p and seeds of the rows that options are chosen by.
    scores: Float[np.ndarray, "S I P"]


def of_model(model: Model, seed: int) -> tuple[dict[Way, Found], dict[str, str]]:
    """(way → what it reached, method → why it is left out); AligngapError where that is one of
    COMPARED."""
    found: dict[Way, Found] = {}
    left_out: dict[str, str] = {}
    methods = (BEFORE, *METHODS)
    for method in progress.track(methods, f"Judging {model.name}", len(methods), "methods"):
        try:
            found |= _of_method(model, method, seed)
        except AligngapError as error:
            if method in COMPARED:
                raise AligngapError(
                    f"{model.name}: nothing to compare methods with, {method} fails: {error}"
                ) from error
            left_out[method] = str(error)
    plain_first = sorted(found, key=lambda way: way.calibrated)
    return {way: found[way] for way in plain_first}, left_out


def _of_method(model: Model, method: str, seed: int) -> dict[Way, Found]:
    """As it is, and calibrated; often by the same options, and then both are judged at once."""
    found, judged = {}, {}
    for way, (options, chosen_by) in _chosen(model, method, seed).items():
        key = tuple(options.items())
        if key not in judged:
            judged[key] = [_curves(x.judged, method, options, seed) for x in model.seeds]
        found[way] = Found(options, chosen_by, np.stack([each[way] for each in judged[key]]))
    return found


def _chosen(model: Model, method: str, seed: int) -> dict[Way, tuple[Options, float | None]]:
    """The options by which the rows to choose by are found best; without such rows the defaults.
    AligngapError where the method can be fitted with none of them."""
    ways = [Way(method, own) for own in (False, True)]
    halves = [each.choosing for each in model.seeds if each.choosing is not None]
    if not halves:
        return dict.fromkeys(ways, ({}, None))
    reached: dict[Way, list[tuple[float, Options]]] = {way: [] for way in ways}
    for options in _tried(method, model.seeds[0].judged.given.image.shape[1]):
        try:
            curves = [_curves(each, method, options, seed) for each in halves]
        except AligngapError as error:
            refused = error
            continue
        for way in ways:
            reached[way].append((float(np.mean([each[way] for each in curves])), options))
    if not reached[ways[0]]:
        raise refused
    best = {way: max(each, key=lambda one: one[0]) for way, each in reached.items()}
    return {way: (options, value) for way, (value, options) in best.items()}


def _tried(method: str, width: int) -> Iterator[Options]:
    """Every setting of the options that are chosen."""
    own = METHODS[method].options if method in METHODS else {}
    names = [name for name in TRIED if name in own]
    for values in itertools.product(*(TRIED[name] for name in names)):
        options = dict(zip(names, values, strict=True))
        if options.get("components", 0) < width:
            yield options


def _curves(
    halves: Halves, method: str, options: Options, seed: int
) -> dict[Way, Float[np.ndarray, "I P"]]:
    """Fitted on the one half, judged by the other; as it is, and calibrated."""
    given, judge = halves
    transform = None if method == BEFORE else candidates.fit(given, method, seed, **options)
    plain = given.before() if transform is None else given.after(transform)
    calibrated = candidates.calibrated(given, transform)[1]
    rows = {Way(method, False): plain, Way(method, True): calibrated}
    return {way: judge.searched(each).curve for way, each in rows.items()}
