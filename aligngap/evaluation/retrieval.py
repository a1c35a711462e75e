"""config.evaluators.retrieval = {"type": "retrieval", "split": "validation", "every_steps": 1000}

Recall at 1, 5 and 10 in both directions, by CLIP_benchmark's names.
"""

from collections.abc import Iterator
from typing import Any

from aligngap.evaluation.evaluator import Evaluator, Value
from aligngap.evaluation.gap import SEED
from aligngap.tasks import retrieval


class Retrieval(Evaluator):
    """Images and texts of one group are right for each other."""

    PRINTED = ("*@10",)

    def __call__(self, params: Any) -> Iterator[tuple[str, Value]]:
        image, text = self.model.embedded(params, self.entry.split)
        labels = self.data.image_group, self.data.text_group
        if self.model.intervals:
            yield from retrieval.evaluate(image, text, *labels, SEED).items()
        else:
            yield from retrieval.values(image, text, *labels).items()
