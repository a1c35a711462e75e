"""Evaluated runs, and which of them are seeds of one method."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from aligngap import config as configs
from aligngap import json_text
from aligngap.errors import AligngapError
from aligngap.reporting.run_page.runs import (
    EVALUATE,
    PAPERS,
    TRAIN,
    SplitValues,
    check_step,
    reading,
    splits_of,
)
from aligngap.tasks.intervals import Scores

SHOWN = 3  # Fields in which methods of one name differ: what they are called by.
# In these runs of one method may differ.
APART = ("seed", *configs.FREE_TO_CHANGE)
# Fields of an evaluator's entry that say when it measures, not what.
WHEN = tuple(configs.evaluator(""))


@dataclass(frozen=True)
class Evaluated:
    """What `aligngap evaluate` has left in one workdir."""

    workdir: Path
    config: dict[str, Any]
    step: int
    splits: dict[str, SplitValues]  # The one that a page leads with comes first.
    evaluators: dict[str, dict[str, Any]]

    @property
    def name(self) -> str:
        """As the papers write it."""
        name = str(self.config.get("name") or self.workdir.resolve().name)
        return PAPERS.get(name, name)

    @cached_property
    def fields(self) -> dict[str, str]:
        """The config's fields that make a method, and the step of the checkpoint."""
        flat = configs.keys(self.config)
        learnt = {key: x for key, x in flat.items() if not is_one_of(key, APART)}
        named = {"name": self.name, **learnt, "step": self.step}
        return {key: json.dumps(x, ensure_ascii=False) for key, x in named.items()}

    def scores(self, split: str, evaluator: str, name: str) -> Scores | None:
        """What each item scored, where that was kept."""
        with self._arrays() as arrays:
            found = {
                field: arrays[key]
                for field in ("scores", "clusters", "classes")
                if (key := f"{split}/{field}/{evaluator}/{name}") in arrays
            }
        if not {"scores", "clusters"} <= set(found):
            return None
        return Scores(found["scores"], found["clusters"], None, found.get("classes"))

    def items(self, split: str) -> list[np.ndarray]:
        """What the split was made of."""
        with self._arrays() as arrays:
            return [arrays[f"{split}/{name}"] for name in ("captions", "image_caption")]

    def _arrays(self) -> Any:
        return np.load(self.workdir / "embeddings.npz")


@dataclass(frozen=True)
class Method:
    """Runs that differ in nothing but their seeds."""

    label: str
    runs: tuple[Evaluated, ...]


def read(workdirs: Sequence[Path]) -> list[Evaluated]:
    """AligngapError where a file is missing or damaged, or runs were evaluated differently."""
    runs = [_read(workdir) for workdir in workdirs]
    for run in runs[1:]:
        _check_same(runs[0], run)
    return runs


def methods(runs: Sequence[Evaluated]) -> list[Method]:
    """In the order of their first runs, with labels that tell them apart."""
    found: dict[tuple[tuple[str, str], ...], list[Evaluated]] = {}
    for run in runs:
        found.setdefault(tuple(sorted(run.fields.items())), []).append(run)
    first = [members[0] for members in found.values()]
    labels = [_label(run, [other for other in first if other.name == run.name]) for run in first]
    return [
        Method(label, tuple(members)) for label, members in zip(labels, found.values(), strict=True)
    ]


def _label(run: Evaluated, same: Sequence[Evaluated]) -> str:
    """The name and, where others have it too, the fields in which they differ."""
    keys = dict.fromkeys(key for other in same for key in other.fields)
    differing = [key for key in keys if len({other.fields.get(key) for other in same}) > 1]
    said = [f"{key}={run.fields.get(key, '–')}" for key in differing[:SHOWN]]
    more = ["…"] if len(differing) > SHOWN else []
    return f"{run.name} ({', '.join(said + more)})" if said else run.name


def is_one_of(key: str, fields: Sequence[str]) -> bool:
    """Whether a dotted key is a field of these, or below one."""
    return any(key == field or key.startswith(f"{field}.") for field in fields)


def _read(workdir: Path) -> Evaluated:
    with reading(workdir / "config.json", TRAIN) as path:
        config = dict(json_text.value(path.read_text("utf-8")))
    with reading(workdir / "evaluation.json", EVALUATE) as path:
        evaluation = json_text.value(path.read_text("utf-8"))
        run = Evaluated(
            workdir,
            config,
            int(evaluation["step"]),
            splits_of(evaluation),
            dict(evaluation["evaluators"]),
        )
    with reading(workdir / "embeddings.npz", EVALUATE) as path, np.load(path) as arrays:
        check_step(path, arrays["step"], run.step)
        for split in run.splits:
            run.items(split)
    return run


def _check_same(first: Evaluated, other: Evaluated) -> None:
    """Of what was not evaluated alike, a table would compare nothing."""
    both = f"{first.workdir} and {other.workdir}"
    remedy = f"run `{EVALUATE.format(workdir=other.workdir)}` with the same settings"
    if set(first.splits) != set(other.splits):
        names = [", ".join(run.splits) for run in (first, other)]
        raise AligngapError(f"{both} were evaluated on {names[0]} and on {names[1]}: {remedy}")
    for split in first.splits:
        pairs = zip(first.items(split), other.items(split), strict=True)
        if not all(np.array_equal(one, another) for one, another in pairs):
            raise AligngapError(f"{both} were evaluated on different images of {split}: {remedy}")
    for name in set(first.evaluators) & set(other.evaluators):
        options = [_options(run.evaluators[name]) for run in (first, other)]
        if options[0] != options[1]:
            raise AligngapError(f"{both} were evaluated by evaluators.{name} differently: {remedy}")


def _options(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What an evaluator measures: its type and own options."""
    return {key: x for key, x in entry.items() if key == "type" or key not in WHEN}
