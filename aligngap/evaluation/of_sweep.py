"""`aligngap evaluate` of a sweep: each finished point, in a process of its own, once."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from ml_collections import ConfigDict

from aligngap import children, progress
from aligngap.children import Job
from aligngap.errors import some
from aligngap.evaluation import evaluate
from aligngap.runs import sweep, workdir
from aligngap.training import in_turn


def evaluate_all(
    folder: Path,
    command: Sequence[str],
    at_once: int,
    data_dir: str = "",
    entries: str = "",
    overrides: tuple[str, ...] = (),
) -> None:
    """Evaluates the points that are finished and were not evaluated so, by `children.run`; says
    which are left out. `command` is this one's, to which `--workdir=POINT` is added.

    AligngapError where one has failed, Preempted after a signal.
    """
    in_turn.on_cpu()
    asked = data_dir, entries, overrides
    left: dict[str, list[str]] = {}

    def jobs() -> Iterator[Job]:
        points = sweep.workdirs(folder)
        for number, own in enumerate(points, start=1):
            held = ExitStack()
            why = _not_to_be(own)
            lock = None if why else in_turn.claimed(held, own)
            if lock is None:
                left.setdefault(why or "in other processes' hands", []).append(own.name)
            elif not _evaluated(own, evaluate.configured(workdir.read_config(own), *asked)):
                progress.say(f"{own.name}, {number} of {len(points)}")
                yield Job(own.name, [*command, f"--workdir={own}"], held, (lock,))
                continue
            held.close()

    children.run(jobs(), at_once)
    for why, names in left.items():
        progress.say(f"Left out, {why}: {some(names)}")


def _not_to_be(own: Path) -> str:
    """Why a point cannot be evaluated yet; "" if it can."""
    if not (own / "config.json").is_file():
        return "not begun"
    config = workdir.read_config(own)
    return "" if in_turn.step(own, config) == config.steps else "not finished"


def _evaluated(own: Path, asked: ConfigDict) -> bool:
    """Whether evaluation.json is of the last step, by these evaluators."""
    path = own / "evaluation.json"
    if not path.is_file():
        return False
    found = workdir.read_json(path)
    wanted = {"step": asked.steps, "evaluators": json.loads(asked.evaluators.to_json())}
    return {name: found.get(name) for name in wanted} == wanted
