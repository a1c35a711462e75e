"""What the runs of a method reached in a measure, and what they would by other draws of items."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from aligngap.reporting.study_page.records import Run
from aligngap.reporting.study_page.runs import Study
from aligngap.tasks.intervals import RESAMPLES
from aligngap.tasks.seeds import Runs


class Measured:
    """Reads the measures of a study."""

    def __init__(self, study: Study) -> None:
        self.study = study

    def values(
        self, method: str, split: str, names: Sequence[str]
    ) -> Float[np.ndarray, "S"] | None:
        """Of each run, the mean over these measures; None where a run lacks one, or there is no
        run."""
        runs = self.study.methods.get(method, ())
        found = [[run.value(split, name) for name in names] for run in runs]
        if not found or any(x is None for each in found for x in each):
            return None
        return np.array(found, float).mean(axis=1)

    def runs(self, method: str, split: str, names: Sequence[str]) -> Runs | None:
        """With draws of items, which are the values themselves where items are not known."""
        values = self.values(method, split, names)
        if values is None:
            return None
        drawn = np.stack(
            [
                np.mean([_drawn(run, split, name) for name in names], axis=0)
                for run in self.study.methods[method]
            ]
        )
        return Runs(values, drawn, [*self.study.methods].index(method))

    def has_items(self, method: str, split: str, names: Sequence[str]) -> bool:
        """Whether all these measures are of items that can be drawn, and not of seeds alone."""
        run = self.study.methods[method][0]
        return all(run.drawn(split, name) is not None for name in names)


def _drawn(run: Run, split: str, name: str) -> Float[np.ndarray, "R"]:
    found = run.drawn(split, name)
    return np.full(RESAMPLES, run.value(split, name)) if found is None else found
