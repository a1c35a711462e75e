"""config.evaluators.retrieval = {"type": "retrieval", "split": "validation", "every_steps": 1000}

Recall at 1, 5 and 10 in both directions, by CLIP_benchmark's names.
"""

from collections.abc import Iterator
from typing import Any

from aligngap.evaluation.evaluator import Evaluator, Found
from aligngap.tasks import retrieval


class Retrieval(Evaluator):
    """Images and texts of one group are right for each other."""

    PRINTED = ("*@10",)
    TASK = "zeroshot_retrieval"

    def __call__(self, params: Any) -> Iterator[tuple[str, Found]]:
        image, text = self.model.embedded(params, self.entry.split)
        labels = self.data.image_group, self.data.text_group
        yield from retrieval.scores(image, text, *labels).items()
