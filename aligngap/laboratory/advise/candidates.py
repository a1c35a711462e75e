"""Every transform there is, fitted on one half and applied to the other; who is left out, and why.

The transductive ones come in by their out-of-sample forms: of what they are fitted on nothing is
judged.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from aligngap import progress
from aligngap.errors import AligngapError
from aligngap.gap import GapTransform, ScoreCalibration
from aligngap.gap.streaming import sample
from aligngap.gap.transforms.methods import METHODS
from aligngap.laboratory.advise.judge import Embedded

CALIBRATION = "score_calibration"  # It changes scores, not rows: mixed search alone.
NO_QUERIES = "needs --query: a text that asks would be compared with itself"


@dataclasses.dataclass(frozen=True)
class Given:
    """Rows [N, D] of length 1: row i of all is one item; and the halves' row numbers."""

    image: Float[np.ndarray, "N D"]
    text: Float[np.ndarray, "N D"]
    query: Float[np.ndarray, "N D"] | None
    fitted: Int[np.ndarray, "F"]
    judged: Int[np.ndarray, "J"]
    named: Int[np.ndarray, "K"]  # Of the fitted half, those whose texts name classes.

    def before(self) -> Embedded:
        """As they are."""
        query = self.text if self.query is None else self.query
        image, text, query = (rows[self.judged] for rows in (self.image, self.text, query))
        return Embedded(image, text, query, self.text[self.named])

    def after(self, transform: GapTransform) -> Embedded:
        """As a transform makes them; AligngapError for one that leaves a row no direction."""
        rows = self.before()
        return Embedded(
            transform.image(rows.image),
            transform.text(rows.text),
            transform.query(rows.query),
            transform.text(rows.class_text) if len(rows.class_text) else rows.class_text,
        )


@dataclasses.dataclass(frozen=True)
class Tried:
    """A transform, and what it makes of the judged rows."""

    transform: GapTransform
    rows: Embedded


def tried(given: Given, seed: int) -> tuple[dict[str, Tried], dict[str, str]]:
    """(method → what it does, method → why it is left out); AligngapError where all are."""
    found: dict[str, Tried] = {}
    left_out: dict[str, str] = {}
    for method in progress.track([*METHODS], "Fitting", len(METHODS), "transforms"):
        try:
            transform = fit(given, method, seed)
            found[method] = Tried(transform, given.after(transform))
        except AligngapError as error:
            left_out[method] = str(error)
    if not found:
        raise AligngapError(f"no transform can be fitted on these rows: {left_out['mean']}")
    return found, left_out


def fit(given: Given, method: str, seed: int, **options: Any) -> GapTransform:
    """On the fitted half, or a sample of as many rows as the method takes."""
    most = METHODS[method].options.get("most", len(given.fitted))
    assert not callable(most)
    chosen = given.fitted[sample(len(given.fitted), int(most), seed)]
    query = None if given.query is None else given.query[chosen]
    return GapTransform.fit(given.image[chosen], given.text[chosen], method, query, **options)


def calibrated(
    given: Given, transform: GapTransform | None = None
) -> tuple[ScoreCalibration, Embedded]:
    """Rows whose products are the calibrated scores, (s − μ_m) / σ_m = [q, 1] · [x, −μ_m] / σ_m,
    of rows as they are or as a transform makes them; AligngapError where there is nothing to
    calibrate by."""
    if given.query is None:
        raise AligngapError(NO_QUERIES)
    chosen = [rows[given.fitted] for rows in (given.image, given.text, given.query)]
    rows = given.before()
    if transform is not None:
        applied = zip(("image", "text", "query"), chosen, strict=True)
        chosen = [transform.apply(name, each) for name, each in applied]
        rows = given.after(transform)
    found = ScoreCalibration.fit(*chosen)
    one = np.ones((len(rows.query), 1))
    scaled = {
        name: np.concatenate([each, -found.mean[name] * one], axis=1) / found.deviation[name]
        for name, each in (("image", rows.image), ("text", rows.text))
    }
    query = np.concatenate([rows.query, one], axis=1)
    return found, rows._replace(**scaled, query=query)
