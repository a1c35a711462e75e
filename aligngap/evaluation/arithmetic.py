"""config.evaluators.arithmetic = {"type": "arithmetic", "final": "tests", "scales": (0.0, 1.0)}

SIMAT's arithmetic: image + λ · (target word − source word), for each other value that an image's
thing has in the split, such as the hair, gender or colour of pictograms. For changes of your own,
"changes": FILE.tsv and "kind": a line a change, image<TAB>source<TAB>target<TAB>class, where the
nearest image must have that class of labels of this kind.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict

from aligngap.errors import UsageError
from aligngap.evaluation import labelled, variants
from aligngap.evaluation.evaluator import Evaluator, Value
from aligngap.evaluation.gap import SEED
from aligngap.evaluation.subject import Subject
from aligngap.evaluation.variants import Variants
from aligngap.gap import sources
from aligngap.tasks import arithmetic
from aligngap.tasks.arithmetic import Changes


class Problem(NamedTuple):
    """Changes, their words, and the label of every image of the split."""

    changes: Changes
    words: list[str]
    labels: Int[np.ndarray, "N"]


class Arithmetic(Evaluator):
    """A name is "hair/scale_1": the share of hits at λ = 1, of changes of hair."""

    OPTIONS: ClassVar = {
        **variants.PAIR,
        "scales": arithmetic.SCALES,  # λ.
        "changes": "",  # A file of changes, in place of those of the split's variants ...
        "kind": "",  # ... and the kind of labels that says what an image shows.
    }
    PRINTED = ("*/scale_0", "*/scale_1")

    def __init__(self, model: Subject, entry: ConfigDict) -> None:
        super().__init__(model, entry)
        if bool(entry.changes) != bool(entry.kind):
            raise UsageError("arithmetic: changes=FILE and kind, of labels, go together")
        if not np.isfinite(entry.scales).all():
            raise UsageError(f"arithmetic: scales={entry.scales} are finite numbers")
        self.problems = self._of_file() if entry.changes else self._of_variants()

    def __call__(self, params: Any) -> Iterator[tuple[str, Value]]:
        image = self.model.embedded(params, self.entry.split).image
        for kind, (changes, names, labels) in self.problems.items():
            words = self.model.embedder.texts(params, names)
            given = image, labels, words, changes, self.data.image_group, SEED
            for scale, value in arithmetic.evaluate(*given, self.entry.scales).items():
                yield f"{kind}/scale_{scale:g}", value if self.model.intervals else value.value

    def _of_variants(self) -> Mapping[str, Problem]:
        found = variants.find(self.data, self.entry.thing, self.entry.attribute, "arithmetic")
        return {kind: changed(each, len(self.data.image_group)) for kind, each in found.items()}

    def _of_file(self) -> Mapping[str, Problem]:
        path, kind = self.entry.changes, self.entry.kind
        labelled.kinds(self.data, (kind,), "arithmetic")
        columns = sources.table(path, "image, source, target, class")
        known = dict.fromkeys(self.data.labels[kind])
        place = {name: row for row, name in enumerate(known)}
        labels = np.array([place[name] for name in self.data.labels[kind]])
        words = sorted({*columns[1], *columns[2]})
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(self.data.names):
            rows.setdefault(name, []).append(row)
        made = []
        for line, (image, source, target, wanted) in enumerate(zip(*columns, strict=True), 1):
            if image not in rows or wanted not in place:
                what = f"image {image!r}" if image not in rows else f"{kind} {wanted!r}"
                raise UsageError(f"{path}, line {line}: {self.data.name} has no {what}")
            numbers = words.index(source), words.index(target), place[wanted]
            made += [(row, *numbers) for row in rows[image]]
        return {kind: Problem(Changes(*np.transpose(made)), words, labels)}


def changed(found: Variants, count: int) -> Problem:
    """Every image of a thing to each other value that this thing has, among `count` images."""
    shown = found.thing * len(found.values) + found.value
    labels = np.full(count, -1)
    labels[found.image] = shown
    made = []
    for image, thing, value, own in zip(found.image, found.thing, found.value, shown, strict=True):
        others = np.setdiff1d(shown[found.thing == thing], own)
        made += [(image, value, wanted % len(found.values), wanted) for wanted in others]
    return Problem(Changes(*np.transpose(made)), found.values, labels)
