"""Pairs in two halves, every method fitted on the one and judged by the other."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from aligngap import progress
from aligngap.errors import AligngapError
from aligngap.gap import copies
from aligngap.gap.streaming import sample
from aligngap.laboratory.advise import candidates
from aligngap.laboratory.advise.advice import Advice, advise
from aligngap.laboratory.advise.candidates import CALIBRATION, Given, Tried
from aligngap.laboratory.advise.judge import SEARCH, Classes, Judge
from aligngap.laboratory.shared.halves import halves
from aligngap.tasks.simultaneous import LEAST


@dataclasses.dataclass(frozen=True)
class Weighed:
    """The advice, and what it comes from."""

    advice: Advice
    fitted: Mapping[str, Tried]
    about: Mapping[str, Mapping[str, Any]]  # Of each method that was judged.
    left_out: Mapping[str, str]  # method → why
    curves: Mapping[str, Float[np.ndarray, "I P"]]  # Of mixed search; "before" is of no method.
    chance: float | None  # Of mixed search.


def parted(
    image: Float[np.ndarray, "N D"],
    text: Float[np.ndarray, "N D"],
    query: Float[np.ndarray, "N D"] | None,
    classes: Int[np.ndarray, "N"] | None,
    most: int,
    seed: int,
) -> tuple[Given, Judge]:
    """Rows of length 1, row i of all one item of a class; at most `most` are judged.

    AligngapError for too few distinct items, or classes of which no two are in both halves.
    """
    label = copies.groups(*(x for x in (image, text, query) if x is not None))
    fitted, rest = halves(label, seed)
    judged = rest[sample(len(rest), most, seed)]
    image_of, text_of, item = (
        np.flatnonzero(copies.first(each))
        for each in (copies.among(image[judged]), copies.among(text[judged]), label[judged])
    )
    if len(item) < LEAST:
        raise AligngapError(
            f"{len(np.unique(label))} distinct pairs leave {len(item)} to judge by; at least "
            f"{LEAST} are needed: give {2 * LEAST} distinct pairs, and --pairs={LEAST} or more"
        )
    named, own = np.empty(0, int), None
    if classes is not None:
        named = fitted[sample(len(fitted), most, seed)]
        own = Classes(classes[judged], classes[named])
        if len(np.intersect1d(*own)) < 2:
            raise AligngapError(
                "--labels: fewer than 2 classes have pairs in both halves, the fitted one and the "
                "judged one; expected classes of several pairs each"
            )
    judge = Judge(label[judged], image_of, text_of, item, query is not None, own)
    return Given(image, text, query, fitted, judged, named), judge


def weighed(given: Given, judge: Judge, seed: int) -> Weighed:
    """Every method judged; AligngapError where none can be fitted."""
    fitted, left_out = candidates.tried(given, seed)
    about = {name: each.transform.about() for name, each in fitted.items()}
    before, after = judge.judged(given.before()), {}
    for method, each in progress.track(fitted.items(), "Judging", len(fitted), "transforms"):
        after[method] = judge.judged(each.rows)
    try:
        calibration, rows = candidates.calibrated(given)
        after[CALIBRATION] = judge.searched(rows)
        about[CALIBRATION] = calibration.about()
    except AligngapError as error:
        left_out[CALIBRATION] = str(error)
    advice = advise(before.scores, {name: x.scores for name, x in after.items()}, seed)
    curves = {"before": before.curve} | {name: x.curve for name, x in after.items()}
    return Weighed(advice, fitted, about, left_out, curves, before.scores[SEARCH].chance)
