"""Where the records of a split lie: 16 bytes each, mapped into memory and never read whole."""

import functools
from pathlib import Path

import numpy as np

from aligngap.data.mapped import at_random
from aligngap.errors import AligngapError

RECORD = np.dtype([("shard", "<u4"), ("offset", "<u8"), ("size", "<u4")])


def path(folder: Path, split: str) -> Path:
    """The file of a split."""
    return folder / f"{split}.index"


@functools.lru_cache(maxsize=16)
def opened(file: Path, records: int) -> np.ndarray:
    """[records] of RECORD; AligngapError where the file is gone or has another length."""
    try:
        size = file.stat().st_size
    except OSError as error:
        raise AligngapError(f"{file} cannot be read: {error.strerror}") from error
    if size != records * RECORD.itemsize:
        raise AligngapError(f"{file} has {size} bytes, expected {records * RECORD.itemsize}")
    return at_random(np.memmap(file, RECORD, "r", shape=(records,)))


def blocks_path(folder: Path, split: str) -> Path:
    """Where a split's blocks begin, for formats that are read by row groups."""
    return folder / f"{split}.blocks.npy"
