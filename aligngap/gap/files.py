"""The gap of embeddings in files: what `aligngap gap` reads, prints and writes."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from aligngap import progress, whole
from aligngap.errors import AligngapError
from aligngap.gap.intervals import Interval, intervals

UNIT_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class Measured:
    """Two files of paired embeddings, row i of both being a pair, and their measures."""

    image_path: Path
    text_path: Path
    image: Float[np.ndarray, "N D"]
    text: Float[np.ndarray, "N D"]
    intervals: Mapping[str, Interval]


def measure(image_path: Path, text_path: Path, output: Path) -> Measured:
    """Measures two .npy files of paired embeddings and writes OUTPUT/gap.json."""
    image, text = load(image_path), load(text_path)
    if image.shape != text.shape:
        raise AligngapError(
            f"{image_path} has shape {image.shape} and {text_path} {text.shape}; expected the same "
            "[N, D], row i of both being a pair"
        )
    if len(image) < 2:
        raise AligngapError(f"{image_path} holds one pair; the gap of clouds needs at least 2")
    found = intervals(image, text)
    write(output, {"pairs": len(image), "dimension": image.shape[1], "measures": as_json(found)})
    return Measured(image_path, text_path, image, text, found)


def load(path: Path) -> Float[np.ndarray, "N D"]:
    """L2-normalised float32 rows; AligngapError names the file and the row that is no embedding."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise AligngapError(f"{path}: not a readable .npy array ({error})") from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or not len(array) or array.shape[1] < 2:
        raise AligngapError(f"{path}: expected one array [N, D] of N ≥ 1 embeddings, D ≥ 2")
    if not np.issubdtype(array.dtype, np.floating):
        raise AligngapError(f"{path}: expected floating-point numbers, found {array.dtype}")
    rows = np.asarray(array, np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    bad = np.flatnonzero(~np.isfinite(norms[:, 0]) | (norms[:, 0] == 0))
    if bad.size:
        raise AligngapError(f"{path}: row {bad[0]} is zero or not finite ({bad.size} such rows)")
    if np.abs(norms - 1).max() > UNIT_TOLERANCE:
        progress.say(f"{path}: rows were not of length 1; normalised")
    return rows / norms


def write(folder: Path, found: Mapping[str, Any]) -> None:
    """FOLDER/gap.json, whole or not at all."""
    whole.write(folder / "gap.json", json.dumps(found, indent=2) + "\n")


def as_json(found: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
    """{"centroid_distance": {"value", "low", "high"}, ...}"""
    return {name: dataclasses.asdict(interval) for name, interval in found.items()}


def table(found: Mapping[str, Interval]) -> str:
    """A line for each measure: its value and its 95 % interval."""
    return "\n".join(
        f"{name:<28} {x.value:8.4f}   [{x.low:.4f}, {x.high:.4f}]" for name, x in found.items()
    )
