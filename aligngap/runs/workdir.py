"""The folder of a run: whose it is, and what it was made with."""

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

from ml_collections import ConfigDict

from aligngap import atomic, json_text, lock
from aligngap import config as configs
from aligngap.errors import AligngapError, UsageError


def claim(workdir: Path, config: ConfigDict) -> None:
    """Makes the folder and writes config.json, or checks that the run in it is this config's."""
    atomic.write_json(workdir / "config.json", check(workdir, config))


def check(workdir: Path, config: ConfigDict) -> dict[str, Any]:
    """What config.json is to hold; UsageError where the run in the folder is another config's."""
    path = workdir / "config.json"
    # Through JSON and back, so that tuples compare as the lists they become in the file.
    wanted = json.loads(config.to_json())
    wanted["init_from"] = config.init_from and str(Path(config.init_from).absolute())
    wanted["data"]["data_dir"] = str(configs.data_dir(config.data.data_dir).absolute())
    if path.exists():
        _same_run(workdir, configs.complete(read_json(path)), wanted)
    return wanted


def alone(workdir: Path, work: str = "training") -> AbstractContextManager[IO[str]]:
    """One process at a time works in a folder; AligngapError where another one does."""
    return lock.alone(workdir / ".lock", f"another process is {work} in {workdir}")


def read_config(workdir: Path) -> ConfigDict:
    """The config that the run in `workdir` was started with."""
    path = workdir / "config.json"
    if not path.is_file():
        raise AligngapError(
            f"{workdir} holds no run (no config.json); `aligngap train --workdir=...` makes one"
        )
    tree = read_json(path)
    if "optimizer" not in tree:
        raise AligngapError(
            f"{workdir} holds no run (its config.json is of an exported model, or another "
            f"program's); `aligngap import --source={workdir} --workdir=DIR` makes a workdir of it"
        )
    config = configs.from_json(configs.complete(tree))
    try:
        configs.validate(config)
    except Exception as error:  # Someone wrote in it: its values can be anything.
        raise AligngapError(f"{path} is no config of this version: {error}") from error
    return config


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; AligngapError where the file holds none."""
    try:
        value = json_text.value(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AligngapError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise AligngapError(f"{path}: expected a JSON object")
    return value


def _same_run(workdir: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    changed = configs.difference(old, new)
    if changed:
        raise UsageError(
            f"workdir {workdir} holds another config's run: {changed}; give another --workdir, or "
            "the config that it was started with"
        )
