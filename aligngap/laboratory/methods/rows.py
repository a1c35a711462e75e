"""The rows of evaluated runs: those of one model differ in their seeds, and have the same items."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from aligngap.errors import AligngapError, UsageError
from aligngap.gap import copies, files
from aligngap.gap.streaming import sample
from aligngap.laboratory.advise import weighing
from aligngap.laboratory.advise.candidates import Given
from aligngap.laboratory.advise.judge import Judge

EXPECTED = "NAME=RUNS:SPLIT or NAME=RUNS:SPLIT,FIT,CHOOSE"


class Rows(NamedTuple):
    """Row i of each is one item's."""

    image: Float[np.ndarray, "N D"]
    text: Float[np.ndarray, "N D"]
    query: Float[np.ndarray, "N D"]


class Halves(NamedTuple):
    """Rows to be fitted on and to be judged by, and what is right."""

    given: Given
    judge: Judge


class Seed(NamedTuple):
    """One run: halves of the split that is looked at once, and of those that options are chosen
    by, where there are any."""

    folder: Path
    judged: Halves
    choosing: Halves | None


class Model(NamedTuple):
    """Runs that differ in their seeds alone."""

    name: str
    seeds: Sequence[Seed]


def read(given: str, most: int, seed: int) -> Model:
    """The runs of a --model; UsageError for another form, AligngapError for runs that were not
    evaluated, or not on the same items."""
    name, _, rest = given.partition("=")
    pattern, _, splits = rest.rpartition(":")
    named = splits.split(",")
    if not name or not pattern or len(named) not in (1, 3) or not all(named):
        raise UsageError(f"--model={given}: expected {EXPECTED}")
    root = Path(Path(pattern).anchor or ".")
    folders = sorted(root.glob(str(Path(pattern).relative_to(root))))
    if not folders:
        raise UsageError(f"--model={given}: there is no {pattern}")
    seeds = [_read(folder, named, most, seed) for folder in folders]
    for each in seeds[1:]:
        if not _same(each.judged, seeds[0].judged):
            raise AligngapError(
                f"{seeds[0].folder} and {each.folder} have other items in {named[0]}; expected "
                "runs of one model and of several seeds, evaluated alike"
            )
    return Model(name, seeds)


def _same(one: Halves, other: Halves) -> bool:
    pairs = (one.given.judged, other.given.judged), (one.judge.item, other.judge.item)
    return all(np.array_equal(*each) for each in pairs)


def _read(folder: Path, splits: Sequence[str], most: int, seed: int) -> Seed:
    given, judge = weighing.parted(*_rows(folder, splits[0]), None, most, seed)
    # Half of the items may have more than half of the rows.
    some = sample(len(given.fitted), len(given.image) // 2, seed)
    given = dataclasses.replace(given, fitted=given.fitted[some])
    judged = Halves(given, judge)
    if len(splits) == 1:
        return Seed(folder, judged, None)
    fit, choose = (_rows(folder, split) for split in splits[1:])
    return Seed(folder, judged, _apart(fit, choose, len(judged.given.fitted), seed))


def _rows(folder: Path, split: str) -> Rows:
    file = folder / "embeddings.npz"
    if not file.is_file():
        raise AligngapError(f"{file} is missing: run `aligngap evaluate --workdir={folder}`")
    return Rows(*(files.load(f"{file}:{split}/search/{name}") for name in Rows._fields))


def _apart(fit: Rows, choose: Rows, most: int, seed: int) -> Halves:
    """Rows of two splits; at most `most` of the first, as many as are fitted in the end."""
    some = sample(len(fit.image), most, seed)
    image, text, query = (
        np.concatenate([one[some], other]) for one, other in zip(fit, choose, strict=True)
    )
    judged = np.arange(len(some), len(image))
    label = copies.groups(*choose)
    item = np.flatnonzero(copies.first(label))
    given = Given(image, text, query, np.arange(len(some)), judged, np.empty(0, int))
    return Halves(given, Judge(label, item, item, item, True, None))
