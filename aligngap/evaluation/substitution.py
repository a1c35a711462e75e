"""config.evaluators.substitution = {"type": "substitution", "final": "tests", "kinds": ("group",)}

A classifier of text embeddings tested on images, and the other way round, beside the accuracy on
its own modality: acc1 and mean_per_class_recall.
"""

from collections.abc import Iterator
from typing import Any

from aligngap import progress
from aligngap.evaluation.evaluator import Value
from aligngap.evaluation.gap import SEED
from aligngap.evaluation.supervised import Supervised
from aligngap.tasks import substitution
from aligngap.tasks.logistic_regression import Classifier
from aligngap.tasks.substitution import Target


class Substitution(Supervised):
    """A name is "KIND/text_to_image/acc1": trained on texts, tested on images."""

    PRINTED = ("*/acc1",)

    def __call__(self, params: Any) -> Iterator[tuple[str, Value]]:
        for kind in self.kinds:
            groups = {"image": self.data.image_group, "text": self.data.text_group}
            rows = self._both(params, "test", kind)
            tested = {side: Target(rows[side], groups[side]) for side in rows}
            found = substitution.evaluate(self._classifiers(params, kind), tested, SEED)
            for name, value in found.items():
                yield f"{kind}/{name}", value if self.model.intervals else value.value

    def _classifiers(self, params: Any, kind: str) -> dict[str, Classifier]:
        def make() -> dict[str, Classifier]:
            progress.say(f"Training classifiers of {kind} on images and on texts")
            parts = (self._both(params, part, kind) for part in ("train", "validation"))
            return substitution.classifiers(*parts)

        return self.model.made(params, ("substitution", kind, *self.made_of), make)

    def _both(self, params: Any, part: str, kind: str) -> dict[str, Any]:
        return {
            "image": self.images(params, part, kind),
            "text": self.texts(params, part, kind),
        }
