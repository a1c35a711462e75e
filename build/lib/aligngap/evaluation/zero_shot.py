"""config.evaluators.zero_shot = {"type": "zero_shot", "final": "tests", "kinds": (),
"prompts": "auto", "classes": "auto", "language": "en"}

Zero-shot classification by each kind of labels that the corpus has, after CLIP_benchmark: the class
whose texts lie nearest to the image.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int
from ml_collections import ConfigDict

from aligngap.data import prompts
from aligngap.errors import UsageError
from aligngap.evaluation.evaluator import Evaluator, Found
from aligngap.evaluation.subject import Subject
from aligngap.models.logit_scale import scale_of
from aligngap.tasks import calibration, zero_shot

AUTO = "auto"  # As CLIP_benchmark has them of a standard set; of any other the classes as they are.


class ZeroShot(Evaluator):
    """The classes are the corpus's; a name is "KIND/acc1"."""

    OPTIONS: ClassVar = {
        "kinds": (),  # Of labels; (): all that the corpus has.
        # A set's by CLIP_benchmark's name, a template with {c}, FILE.json; "": the names alone.
        "prompts": AUTO,
        "classes": AUTO,  # Names by CLIP_benchmark's name of a set; "": the corpus's own.
        "language": "en",  # Of prompts and names: ImageNet's are also in ar, cn, it, jp.
    }
    PRINTED = ("*/acc1",)
    TASK = "zeroshot_classification"

    def __init__(self, model: Subject, entry: ConfigDict) -> None:
        super().__init__(model, entry)
        corpus = self.data.corpus
        kinds = entry.kinds or corpus.kinds
        unknown = [kind for kind in kinds if kind not in corpus.kinds]
        if unknown:
            known = ", ".join(corpus.kinds) or "none"
            raise UsageError(f"{corpus.name} has no labels of kind {unknown[0]!r}; it has {known}")
        self._texts = {kind: self._classes(kind) for kind in kinds}
        self._held: tuple[Any, dict[str, Float[np.ndarray, "C D"]]] = (None, {})

    def __call__(self, params: Any) -> Iterator[tuple[str, Found]]:
        image = self.model.embedded(params, self.entry.split).image
        scale = float(scale_of(params["logit_scale"], self.model.config.model.scale_form))
        for kind in self._texts:
            classes, rows = self._embedded(params, kind), self._rows(kind)
            found = zero_shot.scores(image, classes, rows, self.data.image_group)
            yield from ((f"{kind}/{name}", scores) for name, scores in found.items())
            sure = calibration.confidences(image, classes, rows, scale)
            yield f"{kind}/ece", calibration.expected_calibration_error(*sure)

    def arrays(self, params: Any) -> Mapping[str, np.ndarray]:
        """KIND_names [C], KIND_classes [C, D] as they are classified by, KIND_rows [N] of these:
        what `aligngap gap shift | bias` need."""
        found: dict[str, np.ndarray] = {}
        for kind, texts in self._texts.items():
            found[f"{kind}_names"] = np.array(list(texts))
            found[f"{kind}_classes"] = self._embedded(params, kind).astype(np.float32)
            found[f"{kind}_rows"] = self._rows(kind)
        return found

    def _classes(self, kind: str) -> dict[str, list[str]]:
        """Class → its texts; one that the corpus does not list is called by its name."""
        listed = self.data.corpus.classes(kind)
        names = sorted({*listed, *self.data.labels[kind]})
        called = {name: list(listed.get(name, [name])) for name in names}
        called |= self._standard_names(kind, list(listed))
        benchmark, data_dir = self.data.corpus.benchmark, self.data.corpus.data_dir
        wanted = benchmark.prompts if self.entry.prompts == AUTO else self.entry.prompts
        if not wanted:
            return called
        given = prompts.templates(wanted, self.entry.language, data_dir)
        return {name: prompts.texts(given, name, texts) for name, texts in called.items()}

    def _standard_names(self, kind: str, listed: list[str]) -> dict[str, list[str]]:
        """Class → its name in CLIP_benchmark, as far as one is wanted."""
        corpus, wanted = self.data.corpus, self.entry.classes
        if wanted == AUTO:
            wanted = corpus.benchmark.classes if kind == "label" else ""
        if not wanted and self.entry.language != "en":
            raise UsageError(
                f"{corpus.name} has no names of its classes in {self.entry.language!r}: give "
                "classes, such as imagenet1k, or language=en"
            )
        if not wanted:
            return {}
        names = prompts.class_names(wanted, self.entry.language, corpus.data_dir)
        if len(names) != len(listed):
            raise UsageError(
                f"classes={wanted} are {len(names)}, {kind} of {corpus.name} has {len(listed)}"
            )
        return {own: [name] for own, name in zip(listed, names, strict=True)}

    def _embedded(self, params: Any, kind: str) -> Float[np.ndarray, "C D"]:
        """The embedding of each class; those of the latest parameters are kept."""
        if self._held[0] is not params:
            self._held = (params, {name: self._embed(params, name) for name in self._texts})
        return self._held[1][kind]

    def _embed(self, params: Any, kind: str) -> Float[np.ndarray, "C D"]:
        """All texts of all classes in one pass."""
        texts = self._texts[kind].values()
        rows = self.model.embedder.texts(params, [text for each in texts for text in each])
        ends = np.cumsum([len(each) for each in texts])[:-1]
        return zero_shot.class_embeddings(np.split(rows, ends))

    def _rows(self, kind: str) -> Int[np.ndarray, "N"]:
        """Each image's class as its place among the names."""
        place = {name: row for row, name in enumerate(self._texts[kind])}
        return np.array([place[name] for name in self.data.labels[kind]])
