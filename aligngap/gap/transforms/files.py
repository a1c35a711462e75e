"""A file of embeddings through a transform, into another file."""

from pathlib import Path

import numpy as np

from aligngap import atomic
from aligngap.errors import UsageError
from aligngap.gap.transforms.rows import Rows
from aligngap.gap.transforms.transform import GapTransform


def write(transform: GapTransform, modality: str, given: str, output: Path) -> tuple[int, int]:
    """OUTPUT.npy, whole or not at all, of float32 rows [N, K] whose shape it returns; a chunk of
    them is in memory. UsageError for a name that is no .npy's, or that of what is read."""
    if output.suffix != ".npy":
        raise UsageError(f"--output={output}: expected FILE.npy")
    rows = Rows(given, modality)
    if output.resolve() == rows.source.path.resolve():
        raise UsageError(f"{output} is read and would be overwritten; give another --output")
    transform.maps_of(modality)  # Before a file is begun.
    transform.expect(rows.source)
    shape = rows.count, transform.width
    about = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with atomic.file(output) as file:
        np.lib.format.write_array_header_1_0(file, about)
        for chunk in transform.chunks(modality, rows):
            file.write(chunk.astype("<f4").tobytes())
    return shape
