"""What a corpus looks like in numbers: how often each size, aspect and length occurs."""

from collections import Counter
from typing import Any

import numpy as np
from jaxtyping import Bool


class Statistics:
    """Counts over the records of any number of parts."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[float]] = {}

    def add(self, columns: dict[str, np.ndarray], kept: Bool[np.ndarray, "N"]) -> None:
        """The kept ones of a part's N records."""
        width, height = (columns[side][kept].astype(np.float64) for side in ("width", "height"))
        captions = np.repeat(kept, columns["captions"])
        self._count("shorter side", np.minimum(width, height))
        self._count("aspect", _rounded(width / height))
        self._count("captions a record", columns["captions"][kept])
        self._count("characters a caption", columns["length"][captions])

    def as_json(self) -> dict[str, Any]:
        """What was counted → {value: how often}."""
        return {
            name: {f"{value:g}": counts[value] for value in sorted(counts)}
            for name, counts in self._counts.items()
        }

    def _count(self, name: str, values: np.ndarray) -> None:
        found, often = np.unique(values, return_counts=True)
        counts = self._counts.setdefault(name, Counter())
        counts.update(dict(zip(found.tolist(), often.tolist(), strict=True)))


def _rounded(aspect: np.ndarray) -> np.ndarray:
    """To two digits after the point; below 0.1 to two that are no zeros, so that none becomes 0."""
    scale = 10.0 ** np.maximum(2, 1 - np.floor(np.log10(aspect)))
    rounded: np.ndarray = np.rint(aspect * scale) / scale
    return rounded
