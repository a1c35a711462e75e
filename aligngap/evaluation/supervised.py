"""What evaluators share that train classifiers of embeddings: which rows are for what."""

from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Bool, Int
from ml_collections import ConfigDict

from aligngap.data import corpora
from aligngap.data.eval_set import EvalSet
from aligngap.errors import UsageError
from aligngap.evaluation import labelled
from aligngap.evaluation.evaluator import Evaluator
from aligngap.evaluation.gap import SEED
from aligngap.evaluation.subject import Subject
from aligngap.tasks.labelled import Rows

HELD = 5  # One group of so many chooses, where the validation split is the one that is measured.


class Part(NamedTuple):
    """Groups of a split, with all their images and texts."""

    data: EvalSet
    chosen: Bool[np.ndarray, "G"]

    @property
    def images(self) -> Int[np.ndarray, "n"]:
        """Rows of its images."""
        return np.flatnonzero(self.chosen[self.data.image_group])

    @property
    def texts(self) -> Int[np.ndarray, "c"]:
        """Rows of its texts."""
        return np.flatnonzero(self.chosen[self.data.text_group])


class Supervised(Evaluator):
    """Trains on the corpus's train split, chooses by its validation split, and is measured on its
    own. Where that is the validation split itself, a fifth of the training groups chooses."""

    # train, validation: splits of the same corpus; "": those of the config, or the corpus's own.
    OPTIONS: ClassVar = {"kinds": (), "train": "", "validation": ""}

    def __init__(self, model: Subject, entry: ConfigDict) -> None:
        super().__init__(model, entry)
        self.kinds = labelled.kinds(self.data, entry.kinds, entry.type)
        train, validation = (self._name(role) for role in ("train", "validation"))
        if entry.split == train:
            raise UsageError(f"{entry.type}: {train} is what it trains on; measure another split")
        self.parts = {"test": _whole(self.data), **self._learnt_from(train, validation)}
        # What a classifier is made of, beside the parameters.
        self.made_of = (train, validation, validation == entry.split)

    def images(self, params: Any, part: str, kind: str) -> Rows:
        """The image embeddings of "train", "validation" or "test", with their classes."""
        own, classes = self.parts[part], self._classes(part, kind)
        rows = self.model.embedded(params, own.data.name).image
        return Rows(rows[own.images], classes[own.images])

    def texts(self, params: Any, part: str, kind: str) -> Rows:
        """Likewise its text embeddings."""
        own, classes = self.parts[part], self._classes(part, kind)
        rows = self.model.embedded(params, own.data.name).text
        return Rows(rows[own.texts], labelled.of_texts(own.data, classes)[own.texts])

    def _classes(self, part: str, kind: str) -> Int[np.ndarray, "N"]:
        """Numbered alike whichever split is measured, so that what was trained stays in use."""
        learnt = (self.parts[name].data.labels[kind] for name in ("train", "validation"))
        own = self.parts[part].data.labels[kind]
        trained = sorted({name for labels in learnt for name in labels})
        names = {name: row for row, name in enumerate([*trained, *sorted({*own} - {*trained})])}
        return np.array([names[name] for name in own])

    def _name(self, role: str) -> str:
        """The split for a role, of the corpus that is measured."""
        other, slash, _ = self.entry.split.rpartition("/")
        if given := self.entry[role]:
            found = str(given)
        elif slash:
            own = self.data.corpus.named(role)
            if not own:
                raise UsageError(
                    f"{self.data.corpus.name} has no split for {role}, which {self.entry.type} "
                    f"needs: name one in its entry ({role}=SPLIT)"
                )
            found = own[0]
        elif role == "train":
            found = corpora.train_split(self.model.config)
        else:
            found = corpora.validation_split(self.model.config)
        return found if "/" in found else f"{other}{slash}{found}"

    def _learnt_from(self, train: str, validation: str) -> dict[str, Part]:
        source = _whole(self.model.eval_set(train))
        if validation != self.entry.split:
            return {"train": source, "validation": _whole(self.model.eval_set(validation))}
        order = np.random.default_rng(SEED).permutation(len(source.chosen))
        held = np.isin(np.arange(len(order)), order[: len(order) // HELD])
        return {"train": Part(source.data, ~held), "validation": Part(source.data, held)}


def _whole(data: EvalSet) -> Part:
    return Part(data, np.ones(int(data.image_group.max()) + 1, bool))
