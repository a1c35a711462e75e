"""config.evaluators.clustering = {"type": "clustering", "final": "tests", "kinds": ("group",)}

k-means over images and their texts in one pool, and over each modality alone, against the classes
of each kind: V-measure and NMI beside those of shuffled clusters.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from ml_collections import ConfigDict

from aligngap.errors import UsageError
from aligngap.evaluation import labelled
from aligngap.evaluation.evaluator import Evaluator, Value
from aligngap.evaluation.gap import one_image_a_group
from aligngap.evaluation.subject import Subject
from aligngap.tasks import clustering
from aligngap.tasks.labelled import Rows


class Clustering(Evaluator):
    """One image a group with its text: each thing stands twice in the pool, once as each. A name
    is "KIND/pooled/v_measure"; `seeds` starts, whose mean and ends a value is."""

    OPTIONS: ClassVar = {"kinds": (), "seeds": len(clustering.SEEDS)}
    PRINTED = ("*/v_measure",)

    def __init__(self, model: Subject, entry: ConfigDict) -> None:
        super().__init__(model, entry)
        if entry.seeds < 1:
            raise UsageError(f"clustering: seeds={entry.seeds}, expected at least 1")
        self.kinds = labelled.kinds(self.data, entry.kinds, "clustering")

    def __call__(self, params: Any) -> Iterator[tuple[str, Value]]:
        image, text = self.model.embedded(params, self.entry.split)
        pairs = one_image_a_group(self.data.image_group)
        own = text[self.data.image_text[pairs]]
        for kind in self.kinds:
            classes = labelled.numbers(self.data, kind)[pairs]
            sides = Rows(image[pairs], classes), Rows(own, classes)
            found = clustering.evaluate(*sides, range(self.entry.seeds))
            for name, value in found.items():
                yield f"{kind}/{name}", value if self.model.intervals else value.value
