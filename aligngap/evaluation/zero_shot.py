"""config.evaluators.zero_shot = {"type": "zero_shot", "final": "tests", "kinds": ()}

Zero-shot classification by each kind of labels that the corpus has: the class whose texts lie
nearest to the image.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int
from ml_collections import ConfigDict

from aligngap.errors import UsageError
from aligngap.evaluation.evaluator import Evaluator, Value
from aligngap.evaluation.gap import SEED
from aligngap.evaluation.subject import Subject
from aligngap.tasks import zero_shot


class ZeroShot(Evaluator):
    """The classes are the corpus's; a name is "KIND/acc1"."""

    OPTIONS: ClassVar = {"kinds": ()}  # Of labels; (): all that the corpus has.
    PRINTED = ("*/acc1",)

    def __init__(self, model: Subject, entry: ConfigDict) -> None:
        super().__init__(model, entry)
        corpus = self.data.corpus
        kinds = entry.kinds or corpus.kinds
        unknown = [kind for kind in kinds if kind not in corpus.kinds]
        if unknown:
            known = ", ".join(corpus.kinds) or "none"
            raise UsageError(f"{corpus.name} has no labels of kind {unknown[0]!r}; it has {known}")
        self._texts = {kind: self._classes(kind) for kind in kinds}

    def __call__(self, params: Any) -> Iterator[tuple[str, Value]]:
        image = self.model.embedded(params, self.entry.split).image
        for kind in self._texts:
            found = zero_shot.classify(
                image, self._embedded(params, kind), self._rows(kind), self.data.image_group, SEED
            )
            for name, value in found.items():
                yield f"{kind}/{name}", value if self.model.intervals else value.value

    def arrays(self, params: Any) -> Mapping[str, np.ndarray]:
        """KIND_names [C], KIND_classes [C, D] as `classify` uses them, KIND_rows [N] of these:
        what `aligngap gap shift | bias` need."""
        found: dict[str, np.ndarray] = {}
        for kind, texts in self._texts.items():
            embedded = zero_shot.class_embeddings(self._embedded(params, kind))
            found[f"{kind}_names"] = np.array(list(texts))
            found[f"{kind}_classes"] = embedded.astype(np.float32)
            found[f"{kind}_rows"] = self._rows(kind)
        return found

    def _classes(self, kind: str) -> dict[str, list[str]]:
        """Class → its texts; one that the corpus does not list is called by its name."""
        listed = self.data.corpus.classes(kind)
        names = sorted({*listed, *self.data.labels[kind]})
        return {name: list(listed.get(name, [name])) for name in names}

    def _embedded(self, params: Any, kind: str) -> list[Float[np.ndarray, "_ D"]]:
        """The embeddings of each class's texts, all of them in one pass."""
        texts = self._texts[kind].values()
        rows = self.model.embedder.texts(params, [text for each in texts for text in each])
        ends = np.cumsum([len(each) for each in texts])[:-1]
        return np.split(rows, ends)

    def _rows(self, kind: str) -> Int[np.ndarray, "N"]:
        """Each image's class as its place among the names."""
        place = {name: row for row, name in enumerate(self._texts[kind])}
        return np.array([place[name] for name in self.data.labels[kind]])
