"""A whole split, read for evaluation: its images in order, and one caption for each concept."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8
from ml_collections import ConfigDict
from PIL.Image import Image

from aligngap.data import images, pipeline


@dataclass(frozen=True)
class Split:
    """N images of C concepts, each with one caption."""

    name: str
    source: Any
    captions: list[str]  # [C]
    concept: Int[np.ndarray, "N"]  # Which caption is right for an image.
    group: list[str]  # [C]
    subgroup: list[str]  # [C]

    def pixels(self, size: int, how: str = "crop") -> Iterator[UInt8[np.ndarray, "R R 3"]]:
        """The images in order, made square as `data.resize` says."""
        return (images.RESIZES[how](image, size) for image in self.decoded())

    def decoded(self) -> Iterator[Image]:
        """The images in order, one at a time."""
        for row in range(len(self.source)):
            yield images.decode(self.source[row]["image"], f"{row} of {self.name}")


def read(config: ConfigDict, name: str) -> Split:
    """Reads the text side of every record; images stay on disk until `pixels` asks for them."""
    source = pipeline.open_split(config, name)
    concepts: dict[bytes, int] = {}
    captions: list[str] = []
    groups: list[str] = []
    subgroups: list[str] = []
    rows = np.zeros(len(source), np.int64)
    for row in range(len(source)):
        record = source[row]
        if record["concept"] not in concepts:
            concepts[record["concept"]] = len(concepts)
            captions.append(pipeline.caption(record, config.data.max_keywords))
            groups.append(record["group"].decode())
            subgroups.append(record["subgroup"].decode())
        rows[row] = concepts[record["concept"]]
    return Split(name, source, captions, rows, groups, subgroups)
