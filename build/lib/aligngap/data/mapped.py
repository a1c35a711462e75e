"""Large files mapped into memory."""

import mmap

import numpy as np


def at_random(array: np.ndarray) -> np.ndarray:
    """The same array; if it is a file's, the system no longer reads ahead of what is asked for,
    which for a row here and there takes milliseconds each."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_RANDOM"):
        mapped.madvise(mmap.MADV_RANDOM)
    return array
