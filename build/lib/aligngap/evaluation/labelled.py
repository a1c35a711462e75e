"""What evaluators by class need of a split: its kinds of labels, and classes as numbers."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from aligngap.data.eval_set import EvalSet
from aligngap.errors import UsageError


def kinds(data: EvalSet, wanted: Sequence[str], what: str) -> tuple[str, ...]:
    """The kinds to measure: those wanted, or all that the corpus has; UsageError where it lacks
    one, or has none. `what` needs them goes into the error."""
    corpus = data.corpus
    if not corpus.kinds:
        raise UsageError(f"{what} needs classes, and {corpus.name} has no labels of any kind")
    for kind in wanted:
        if kind not in corpus.kinds:
            known = ", ".join(corpus.kinds)
            raise UsageError(f"{corpus.name} has no labels of kind {kind!r}; it has {known}")
    return tuple(wanted) or corpus.kinds


def numbers(data: EvalSet, kind: str) -> Int[np.ndarray, "N"]:
    """Each image's class, as its place among all that occur."""
    found: np.ndarray = np.unique(data.labels[kind], return_inverse=True)[1]
    return found


def of_texts(data: EvalSet, classes: Int[np.ndarray, "N"]) -> Int[np.ndarray, "C"]:
    """The class of each text: that of the first image of its group."""
    _, first = np.unique(data.image_group, return_index=True)
    found: np.ndarray = classes[first][data.text_group]
    return found
