"""config.evaluators.object_bias = {"type": "object_bias", "final": "test_unseen_style"}

MOAD of Schrodi et al. 2025 in each modality: above 0, what shares a thing lies closer together than
what shares an attribute. Things and attributes are two kinds of labels ("thing", "attribute"), or
what the corpus says of its variants, such as the hair, gender or colour of pictograms.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict

from aligngap.errors import UsageError
from aligngap.evaluation import variants
from aligngap.evaluation.evaluator import Evaluator, Value
from aligngap.evaluation.gap import SEED
from aligngap.evaluation.subject import Subject
from aligngap.evaluation.variants import Variants
from aligngap.tasks import object_bias


class ObjectBias(Evaluator):
    """A name is "colour/image/moad"; beside it stand its two differences."""

    OPTIONS: ClassVar = variants.PAIR
    PRINTED = ("*/moad",)

    def __init__(self, model: Subject, entry: ConfigDict) -> None:
        super().__init__(model, entry)
        found = variants.find(self.data, entry.thing, entry.attribute, "object_bias")
        self.found = {kind: x for kind, x in found.items() if _compares(x, self.data.image_group)}
        if not self.found:
            raise UsageError(
                f"object_bias: {', '.join(found)} of {self.data.name} has no two things that share "
                "a value, beside some that do not"
            )

    def __call__(self, params: Any) -> Iterator[tuple[str, Value]]:
        image, text = self.model.embedded(params, self.entry.split)
        for kind, found in self.found.items():
            group = self.data.image_group[found.image]
            _, once = np.unique(group, return_index=True)  # A text stands there once.
            own = text[self.data.image_text[found.image]]
            every = np.arange(len(group))
            for side, rows, chosen in (("image", image[found.image], every), ("text", own, once)):
                things, values = found.thing[chosen], found.value[chosen]
                made = object_bias.moad(rows[chosen], things, values, group[chosen], SEED)
                for name, value in made.items():
                    yield f"{kind}/{side}/{name}", value if self.model.intervals else value.value


def _compares(found: Variants, group: Int[np.ndarray, "N"]) -> bool:
    """Whether some but not all groups share a thing, and some but not all a value."""
    _, once = np.unique(group[found.image], return_index=True)
    kinds = (np.unique(labels[once]).size for labels in (found.thing, found.value))
    return all(1 < count < len(once) for count in kinds)
