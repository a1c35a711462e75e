"""A sweep: the points of a config file's `sweep()`, a run each in a folder of its name.

The file says name → what that point overrides, by dotted keys:

    def sweep() -> dict[str, dict[str, Any]]:
        return {f"lr{lr:g}": {"optimizer.peak_lr": lr} for lr in (3e-4, 1e-3)}
"""

import inspect
import re
import runpy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from aligngap import atomic, progress
from aligngap import config as configs
from aligngap.errors import AligngapError, UsageError, some
from aligngap.runs import workdir

FILE = "sweep.json"  # In the sweep's folder: its points, in their order.
NAME = re.compile(r"(?!\d+$)[A-Za-z0-9][\w.,=+-]*", re.ASCII)


@dataclass(frozen=True)
class Point:
    """One run of a sweep: its name, what it overrides, and the whole config."""

    name: str
    overrides: Mapping[str, Any]
    config: ConfigDict


def points(path: str, overrides: Sequence[str]) -> list[Point]:
    """All points of `FILE[:preset]`, with the command's overrides in each.

    UsageError where there are none, or for the first point that is no valid config.
    """
    found = _called(path)
    if not isinstance(found, Mapping) or not found:
        raise UsageError(f"config {path}: sweep() must give {{name: {{key: value, ...}}, ...}}")
    return [_point(path, overrides, name, own) for name, own in found.items()]


def find(found: Sequence[Point], wanted: str) -> Point:
    """The point of that name, or of that number from 0; UsageError where there is none."""
    if wanted.isdecimal() and int(wanted) < len(found):
        return found[int(wanted)]
    for point in found:
        if point.name == wanted:
            return point
    raise UsageError(
        f"--sweep={wanted}: the points are {', '.join(point.name for point in found)}, or their "
        f"numbers 0 to {len(found) - 1}"
    )


def check(folder: Path, found: Sequence[Point]) -> None:
    """UsageError where a point's folder holds another config's run."""
    for point in found:
        workdir.check(folder / point.name, point.config)


def record(folder: Path, found: Sequence[Point]) -> None:
    """Writes which points there are and what they override, for whoever reads the folder."""
    atomic.write_json(folder / FILE, {"points": {point.name: _typed(point) for point in found}})


def evaluated(folders: Sequence[Path]) -> list[Path]:
    """These runs' folders; of a sweep's, those of its points that were evaluated, in their order,
    and the others are told. AligngapError where none was, UsageError for a run that comes twice."""
    found: list[Path] = []
    for folder in folders:
        own = workdirs(folder)
        if own == [folder]:
            found.append(folder)
            continue
        there = [each for each in own if (each / "evaluation.json").is_file()]
        if not there:
            raise AligngapError(
                f"no point of {folder} is evaluated: run `aligngap evaluate --workdir={own[0]}`, "
                "and so on"
            )
        if left := [each.name for each in own if each not in there]:
            progress.say(f"Of {folder} these are not evaluated, and left out: {some(left)}")
        found += there
    seen: set[Path] = set()
    for one in found:
        if one.resolve() in seen:
            raise UsageError(f"{one} comes twice (as a sweep's point, too?): give each run once")
        seen.add(one.resolve())
    return found


def workdirs(folder: Path) -> list[Path]:
    """The folders of a sweep's points in their order; of any other run its own alone."""
    path = folder / FILE
    if not path.is_file():
        return [folder]
    held = workdir.read_json(path).get("points")
    if not isinstance(held, dict) or not all(map(NAME.fullmatch, held)):
        raise AligngapError(f"{path} does not say its points; `aligngap train --sweep` writes it")
    return [folder / name for name in held]


def _typed(point: Point) -> dict[str, Any]:
    """What a point overrides, as the config has taken it."""
    flat = configs.keys(point.config)
    return {key: flat[key] for key in point.overrides}


def _called(path: str) -> Any:
    """What `sweep()` of the file gives, or `sweep(preset)` where it takes one."""
    name, _, preset = path.partition(":")
    if not Path(name).is_file():
        raise UsageError(f"config file {name} does not exist (FILE[:preset])")
    with configs.in_one_line(f"config {path}: sweep()"):
        sweep = runpy.run_path(name).get("sweep")
        if sweep is None:
            raise UsageError(f"config {name} has no sweep(): name → overrides of each point")
        return sweep(*[preset] * bool(preset and inspect.signature(sweep).parameters))


def _point(path: str, overrides: Sequence[str], name: Any, own: Any) -> Point:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UsageError(
            f"config {path}: a point {name!r}: its name becomes a folder's (letters, digits and "
            "._,=+-, not digits alone)"
        )
    if not isinstance(own, Mapping):
        raise UsageError(f"config {path}: point {name}: expected {{key: value, ...}}, got {own!r}")
    for override in overrides:
        key = override.partition("=")[0].removeprefix("--config.")
        if key in own:
            raise UsageError(f"{override}: point {name} of the sweep sets {key} itself")
    flags = [f"--config.{key}={value}" for key, value in own.items()]
    try:
        return Point(name, own, configs.load(path, [*overrides, *flags]))
    except UsageError as error:
        raise UsageError(f"point {name}: {error}") from error
