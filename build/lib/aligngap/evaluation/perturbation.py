"""config.evaluators.perturbation = {"type": "perturbation", "final": "tests", "sizes": (0.5, 1.0)}

Retrieval, and zero-shot accuracy where the corpus has classes, with embeddings under Gaussian noise
of growing size, and stored in one byte or one bit a dimension.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from ml_collections import ConfigDict

from aligngap import config as configs
from aligngap.errors import UsageError
from aligngap.evaluation import evaluator
from aligngap.evaluation.evaluator import Evaluator, Value
from aligngap.evaluation.gap import SEED
from aligngap.evaluation.subject import Subject
from aligngap.intervals import Interval
from aligngap.tasks import perturbation


class Perturbation(Evaluator):
    """A name is "noise_0.5/text_retrieval_recall@10", "int8/...", "KIND/binary/acc1"."""

    OPTIONS: ClassVar = {
        "kinds": (),  # Of labels; (): all that the corpus has.
        "sizes": perturbation.SIZES,  # Length of the noise beside that of an embedding.
        "draws": perturbation.DRAWS,  # Of the noise.
    }
    PRINTED = ("*/text_retrieval_recall@10", "*/acc1")

    def __init__(self, model: Subject, entry: ConfigDict) -> None:
        super().__init__(model, entry)
        if entry.draws < 1 or min(entry.sizes, default=1) <= 0:
            raise UsageError(
                f"perturbation: sizes={entry.sizes} are above 0, draws={entry.draws} at least 1"
            )
        classes = configs.evaluator("zero_shot", kinds=entry.kinds)
        # It knows the classes' texts; without labels it has none.
        self.zero_shot = evaluator.build("perturbation", classes, entry.split, model)

    def __call__(self, params: Any) -> Iterator[tuple[str, Value]]:
        for name, value in self._found(params):
            yield name, value if self.model.intervals else value.value

    def _found(self, params: Any) -> Iterator[tuple[str, Interval]]:
        data, noise = self.data, (self.entry.sizes, self.entry.draws)
        image, text = self.model.embedded(params, self.entry.split)
        if "retrieval" not in data.corpus.unfit:
            groups = data.image_group, data.text_group
            yield from perturbation.retrieval(image, text, *groups, SEED, *noise).items()
        arrays = self.zero_shot.arrays(params)
        for kind in self.entry.kinds or data.corpus.kinds:
            own = arrays[f"{kind}_classes"], arrays[f"{kind}_rows"], data.image_group
            for name, value in perturbation.accuracy(image, *own, SEED, *noise).items():
                yield f"{kind}/{name}", value
