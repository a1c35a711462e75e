"""Pairs in two halves: what is fitted on the one is judged by the other."""

import numpy as np
from jaxtyping import Int

from aligngap.errors import AligngapError


def halves(
    label: Int[np.ndarray, "N"], seed: int
) -> tuple[Int[np.ndarray, "F"], Int[np.ndarray, "J"]]:
    """Rows to fit on and rows to be judged by, in order; those of one label stay together.

    AligngapError where all have one label.
    """
    names, first = np.unique(label, return_index=True)
    names = names[np.argsort(first)]  # Labels are numbered by what rows hold; halves are not to be.
    if len(names) < 2:
        raise AligngapError("all pairs share an image or a caption: no half is free of the other")
    chosen = np.random.default_rng(seed).permutation(names)[: len(names) // 2]
    fitted = np.isin(label, chosen)
    return np.flatnonzero(fitted), np.flatnonzero(~fitted)
