"""What is measured on the validation split while a model trains: its gap and its retrieval."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from aligngap import gap
from aligngap.data import splits
from aligngap.runs.embedder import Embedder
from aligngap.tasks import retrieval
from aligngap.training.loop import Run


class Validation:
    """Called with parameters, yields (name, value): the contract of an evaluator of `training`."""

    def __init__(self, run: Run) -> None:
        self._embedder = Embedder(run.config, run.model, run.tokenizer, run.mesh)
        self._split = splits.read(run.config, run.config.data.validation_split)

    def __call__(self, params: Any) -> Iterator[tuple[str, float]]:
        image, text = self._embedder.split(params, self._split)
        own, captions = self._split.concept, np.arange(len(text))
        yield "centroid_distance", float(gap.centroid_distance(image, text[own]))
        yield "alignment_score", float(gap.alignment_score(image, text[own]))
        yield from retrieval.values(image, text, own, captions).items()
