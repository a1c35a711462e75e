"""What the runs of a method reached in a measure, and what they would by other draws of items."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from aligngap.evaluation.gap import SEED, one_image_a_group
from aligngap.gap import clouds
from aligngap.gap import intervals as gap_intervals
from aligngap.reporting.compare_page.methods import Evaluated
from aligngap.reporting.study_page.runs import Study
from aligngap.tasks.intervals import RESAMPLES
from aligngap.tasks.seeds import Runs

Draws = Float[np.ndarray, "R"]


class Measured:
    """Reads the measures of a study; draws, which take up to a second each, are kept."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._gaps: dict[tuple[Path, str], dict[str, Draws]] = {}
        self._others: dict[tuple[Path, str, str], Draws | None] = {}

    def values(
        self, method: str, split: str, names: Sequence[str]
    ) -> Float[np.ndarray, "S"] | None:
        """Of each run, the mean over these measures; None where a run lacks one, or there is no
        run."""
        runs = self.study.methods.get(method, ())
        found = [[_value(run, split, name) for name in names] for run in runs]
        if not found or any(x is None for each in found for x in each):
            return None
        return np.array(found, float).mean(axis=1)

    def runs(self, method: str, split: str, names: Sequence[str]) -> Runs | None:
        """With draws of items, which are the values themselves where items are not known."""
        values = self.values(method, split, names)
        if values is None:
            return None
        drawn = [
            np.mean([self._drawn(run, split, name) for name in names], axis=0)
            for run in self.study.methods[method]
        ]
        return Runs(values, np.stack(drawn), [*self.study.methods].index(method))

    def has_items(self, method: str, split: str, names: Sequence[str]) -> bool:
        """Whether all these measures are of items that can be drawn, and not of seeds alone."""
        run = self.study.methods[method][0]
        return all(self._items(run, split, name) is not None for name in names)

    def _drawn(self, run: Evaluated, split: str, name: str) -> Draws:
        found = self._items(run, split, name)
        return np.full(RESAMPLES, _value(run, split, name)) if found is None else found

    def _items(self, run: Evaluated, split: str, name: str) -> Draws | None:
        evaluator, _, key = name.partition("/")
        if run.evaluators[evaluator]["type"] == "gap":
            return self._gap(run, split).get(key)
        place = run.workdir, split, name
        if place not in self._others:
            scores = run.scores(split, evaluator, key)
            self._others[place] = None if scores is None else scores.drawn(SEED)
        return self._others[place]

    def _gap(self, run: Evaluated, split: str) -> dict[str, Draws]:
        """As the evaluator measures it: one image a group, with its text."""
        key = run.workdir, split
        if key not in self._gaps:
            image, text, group = pairs(run, split)
            rows = one_image_a_group(group)
            found = clouds.in_memory(image[rows], text[rows], clouds.EXACT_PAIRS, SEED)
            self._gaps[key] = gap_intervals.drawn(found, SEED, RESAMPLES)
        return self._gaps[key]


def pairs(run: Evaluated, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The embeddings of a split's images, of their texts, and the images' groups."""
    with np.load(run.workdir / "embeddings.npz") as arrays:
        image, text = arrays[f"{split}/trained/image"], arrays[f"{split}/trained/pair_text"]
        return image, text, arrays[f"{split}/caption_group"][arrays[f"{split}/image_caption"]]


def _value(run: Evaluated, split: str, name: str) -> float | None:
    evaluator, _, key = name.partition("/")
    if split not in run.splits:
        return None
    found = run.splits[split].values.get(evaluator, {}).get(key)
    return None if found is None else found.value
