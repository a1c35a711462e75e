"""The runs of a study, which of them are seeds of one method, and what the page calls each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aligngap import progress
from aligngap.errors import AligngapError
from aligngap.reporting.compare_page import methods
from aligngap.reporting.study_page import records
from aligngap.reporting.study_page.records import Run, Wanted
from aligngap.runs import sweep

# Name of a method → what the page calls it, in the order of its tables; configs/study/study.py says
# what each is.
LABELS = {
    "clip": "CLIP",
    "sharedclip": "SharedCLIP",
    "alignclip": "AlignCLIP",
    "alignclip_both": "AlignCLIP with texts separated too",
    "alignclip_unscaled": "AlignCLIP without re-scaling",
    "separation_untied": "separation without tying",
    "cua": "CUA",
    "cuaxu": "CUAXU",
    "cua_tied": "tied CUA",
    "cuaxu_tied": "tied CUAXU",
    "scheduled": "scheduled τ",
    "soft_swap": "soft swapping",
    "cl_gap": "CL_gap",
    "cauchy_schwarz": "CS-Aligner",
    "siglip": "SigLIP's loss",
    "siglip_relative": "SigLIP's loss with relative bias",
}


@dataclass(frozen=True)
class Study:
    """Method → its runs by their seeds."""

    methods: dict[str, tuple[Run, ...]]

    @property
    def runs(self) -> list[Run]:
        """All of them, method by method."""
        return [run for each in self.methods.values() for run in each]

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that every run was evaluated on."""
        return tuple(self.runs[0].about["splits"])

    def title(self, split: str) -> str:
        """As tables call it."""
        return str(self.runs[0].about["splits"][split])


def label(method: str) -> str:
    """What the page calls it."""
    return LABELS.get(method, method)


def gather(folders: Sequence[Path], output: Path, wanted: Wanted) -> Study:
    """The evaluated runs of sweeps and runs, and those that `output` keeps; of one method and seed
    that of the workdirs.

    AligngapError where there is none, or where they were not evaluated alike, or the runs of a
    method differ in more than their seeds.
    """
    kept = {run.name: run for run in records.load(output)}
    new: dict[str, Run] = {}
    for run in _recorded(folders, wanted):
        if run.name in new:
            raise AligngapError(
                f"{run.method} has two runs of seed {run.seed}: give each seed once"
            )
        new[run.name] = run
    found = [*(kept | new).values()]
    if not found:
        raise AligngapError(f"{output} keeps no run: give --workdir, a sweep that is evaluated")
    records.check_alike(found)
    return Study(_by_method(found))


def _recorded(folders: Sequence[Path], wanted: Wanted) -> Iterable[Run]:
    if folders:
        runs = methods.read(sweep.evaluated(folders))
        for run in progress.track(runs, "Drawing items", len(runs), "runs"):
            yield records.of(run, wanted)


def _by_method(runs: Sequence[Run]) -> dict[str, tuple[Run, ...]]:
    found: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda each: each.seed):
        found.setdefault(run.method, []).append(run)
    for own in found.values():
        for other in own[1:]:
            _check_seeds(own[0], other)
    order = [*(name for name in LABELS if name in found), *(n for n in found if n not in LABELS)]
    return {name: tuple(found[name]) for name in order}


def _check_seeds(one: Run, other: Run) -> None:
    fields = one.fields, other.fields
    apart = [key for key in {**fields[0], **fields[1]} if fields[0].get(key) != fields[1].get(key)]
    if apart:
        raise AligngapError(
            f"{one.name} and {other.name} differ in more than their seeds ({', '.join(apart)}): "
            "name them apart, or write to a folder of their own"
        )
