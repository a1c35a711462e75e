"""How methods stand to rows as they are and to mean-centring, over seeds and items at once."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from aligngap.intervals import Interval
from aligngap.laboratory.methods.curves import BEFORE, Found, Way
from aligngap.tasks import seeds
from aligngap.tasks.search import GRID
from aligngap.tasks.simultaneous import Simultaneous, bands

MEAN = Way("mean", False)
Values = Mapping[Way, Float[np.ndarray, "P"]]
Drawn = Mapping[Way, Float[np.ndarray, "R P"]]


class Standing(NamedTuple):
    """NDCG@10 at each p and its mean over p; how far it falls between its ends; gains."""

    curve: list[Interval]
    mean: Interval
    floor: Interval  # The least over p, as a share of the lower of the two ends.
    gain: Interval  # Of the mean over p, over rows as they are.
    over_mean: Interval  # Over mean-centring.
    over_mean_together: Interval  # The same, by an interval that holds for all methods together.

    def as_json(self) -> dict[str, Any]:
        """By names, the curve as `aligngap gap search` has it."""
        curve = [{"image_share": p, **x.as_json()} for p, x in zip(GRID, self.curve, strict=True)]
        others = {name: getattr(self, name).as_json() for name in self._fields[1:]}
        return {"curve": curve, **others}


class Standings(NamedTuple):
    """Of every method, and c: how many errors away an end is of what holds for all of them."""

    of: dict[Way, Standing]
    critical: float


def standings(found: Mapping[Way, Found], seed: int) -> Standings:
    """Of every method; all of them by the same draws, so that gains are paired."""
    values = {way: each.scores.mean(axis=(0, 1)) for way, each in found.items()}
    drawn = {way: seeds.draws(each.scores, seed) for way, each in found.items()}
    together, critical = _together(values, drawn)
    of = {way: _standing(way, values, drawn, together[way]) for way in found}
    return Standings(of, critical)


def _together(values: Values, drawn: Drawn) -> Simultaneous:
    """What all gain over mean-centring at once."""
    gains = [(values[way] - values[MEAN]).mean() for way in values]
    draws = np.stack([(drawn[way] - drawn[MEAN]).mean(axis=1) for way in values], axis=1)
    return bands([*values], np.array(gains), draws, draws.std(axis=0), np.inf)


def _standing(way: Way, values: Values, drawn: Drawn, together: Interval) -> Standing:
    value, draws = values[way], drawn[way]
    curve = [seeds.interval(x, column) for x, column in zip(value, draws.T, strict=True)]
    gain, over_mean = (
        seeds.interval((value - values[other]).mean(), (draws - drawn[other]).mean(axis=1))
        for other in (Way(BEFORE, False), MEAN)
    )
    mean = seeds.interval(value.mean(), draws.mean(axis=1))
    floor = seeds.interval(_floor(value), _floor(draws))
    return Standing(curve, mean, floor, gain, over_mean, together)


def _floor(curve: np.ndarray) -> Any:
    """Of curves [..., P]; of one that is 0 at an end, 1."""
    ends = np.minimum(curve[..., 0], curve[..., -1])
    return np.where(ends > 0, curve.min(axis=-1) / np.maximum(ends, 1e-12), 1.0)
