"""How methods stand to rows as they are and to mean-centring, over seeds and items at once."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from aligngap.intervals import Interval
from aligngap.laboratory.methods.curves import BEFORE, Found, Way
from aligngap.tasks import seeds
from aligngap.tasks.search import GRID

MEAN = Way("mean", False)


class Standing(NamedTuple):
    """NDCG@10 at each p and its mean over p; how far it falls between its ends; gains."""

    curve: list[Interval]
    mean: Interval
    floor: Interval  # The least over p, as a share of the lower of the two ends.
    gain: Interval  # Of the mean over p, over rows as they are.
    over_mean: Interval  # Over mean-centring.

    def as_json(self) -> dict[str, Any]:
        """By names, the curve as `aligngap gap search` has it."""
        curve = [{"image_share": p, **x.as_json()} for p, x in zip(GRID, self.curve, strict=True)]
        others = {name: getattr(self, name).as_json() for name in self._fields[1:]}
        return {"curve": curve, **others}


def standings(found: Mapping[Way, Found], seed: int) -> dict[Way, Standing]:
    """Of every method; all of them by the same draws, so that gains are paired."""
    values = {way: each.scores.mean(axis=(0, 1)) for way, each in found.items()}
    drawn = {way: seeds.draws(each.scores, seed) for way, each in found.items()}
    return {way: _standing(way, values, drawn) for way in found}


def _standing(
    way: Way,
    values: Mapping[Way, Float[np.ndarray, "P"]],
    drawn: Mapping[Way, Float[np.ndarray, "R P"]],
) -> Standing:
    value, draws = values[way], drawn[way]
    curve = [seeds.interval(x, column) for x, column in zip(value, draws.T, strict=True)]
    gains = [
        seeds.interval(value.mean() - values[other].mean(), (draws - drawn[other]).mean(axis=1))
        for other in (Way(BEFORE, False), MEAN)
    ]
    mean = seeds.interval(value.mean(), draws.mean(axis=1))
    return Standing(curve, mean, seeds.interval(_floor(value), _floor(draws)), *gains)


def _floor(curve: np.ndarray) -> Any:
    """Of curves [..., P]; of one that is 0 at an end, 1."""
    ends = np.minimum(curve[..., 0], curve[..., -1])
    return np.where(ends > 0, curve.min(axis=-1) / np.maximum(ends, 1e-12), 1.0)
