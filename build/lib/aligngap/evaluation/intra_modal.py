"""config.evaluators.intra_modal = {"type": "intra_modal", "final": "tests", "kinds": ("group",)}

Image-to-image and text-to-text retrieval by class: mAP, and recall at 1, 5 and 10, with the query
itself left out.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from ml_collections import ConfigDict

from aligngap.evaluation import labelled
from aligngap.evaluation.evaluator import Evaluator, Value
from aligngap.evaluation.gap import SEED
from aligngap.evaluation.subject import Subject
from aligngap.tasks import intra_modal


class IntraModal(Evaluator):
    """Images, or texts, of one class are right for each other; a name is "KIND/image/map"."""

    OPTIONS: ClassVar = {"kinds": ()}
    PRINTED = ("*/map",)

    def __init__(self, model: Subject, entry: ConfigDict) -> None:
        super().__init__(model, entry)
        self.kinds = labelled.kinds(self.data, entry.kinds, "intra_modal")

    def __call__(self, params: Any) -> Iterator[tuple[str, Value]]:
        image, text = self.model.embedded(params, self.entry.split)
        for kind in self.kinds:
            classes = labelled.numbers(self.data, kind)
            sides = {
                "image": (image, classes, self.data.image_group),
                "text": (text, labelled.of_texts(self.data, classes), self.data.text_group),
            }
            for side, given in sides.items():
                for name, value in intra_modal.evaluate(*given, SEED).items():
                    yield f"{kind}/{side}/{name}", value if self.model.intervals else value.value
