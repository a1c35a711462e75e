"""A measured number with its 95 % interval, and the draws that every bootstrap here starts from."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
from jaxtyping import Float

CONFIDENCE = 0.95
RESAMPLES_AT_ONCE = 100  # bounds the memory: that many rows of one count an item
MOST_KEPT = 2**23  # Numbers of 2 bytes: the draws of 4,000 items.


@dataclass(frozen=True)
class Interval:
    """A value, the ends of its interval, and what chance would reach where that has a meaning."""

    value: float
    low: float
    high: float
    chance: float | None = None

    def as_json(self) -> dict[str, float]:
        """{"value", "low", "high"} and, where there is one, "chance"."""
        return {name: x for name, x in asdict(self).items() if x is not None}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """What `as_json` wrote, null being nan; KeyError where an end is missing. Other entries are
        passed over."""
        value, low, high = (
            np.nan if found[name] is None else float(found[name])
            for name in ("value", "low", "high")
        )
        chance = found.get("chance")
        return cls(value, low, high, None if chance is None else float(chance))


def as_json(found: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
    """{"centroid_distance": {"value", "low", "high"}, ...}"""
    return {name: interval.as_json() for name, interval in found.items()}


def resampled_counts(count: int, seed: int, resamples: int) -> Iterator[Float[np.ndarray, "R N"]]:
    """How often each of N = `count` is drawn in N draws, in blocks of R of the resamples."""
    few = count * resamples <= MOST_KEPT
    for block in (_kept if few else _drawn)(count, seed, resamples):
        yield block.astype(np.float64)


@lru_cache(maxsize=4)
def _kept(count: int, seed: int, resamples: int) -> list[np.ndarray]:
    """Measures of the same items ask for the same draws, which take longer than what follows."""
    return [block.astype(np.uint16) for block in _drawn(count, seed, resamples)]


def _drawn(count: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    random = np.random.default_rng(seed)
    shares = np.full(count, 1 / count)
    for start in range(0, resamples, RESAMPLES_AT_ONCE):
        size = min(RESAMPLES_AT_ONCE, resamples - start)
        yield random.multinomial(count, shares, size=size)
