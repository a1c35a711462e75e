"""Any folder with a model → the one object that every reader of models works with."""

from pathlib import Path

from aligngap import weights
from aligngap.errors import AligngapError
from aligngap.interop import importing, sources
from aligngap.runs import model as models
from aligngap.runs import workdir
from aligngap.runs.model import Model


def load(folder: str | Path, step: int | None = None) -> Model:
    """The model of a trained run or an import, or of a folder of transformers or open_clip, or one
    that comes with aligngap, by its name.

    `step` (the newest) is of a run's checkpoints. AligngapError for a folder that holds none.
    """
    folder = weights.find(folder)
    if not is_foreign(folder):
        return models.open_run(folder, step)
    if step:
        raise AligngapError(f"{folder} is no run of ours: it has no checkpoint of step {step}")
    return importing.open_source(sources.find(folder), folder)


def is_foreign(folder: Path) -> bool:
    """Whether a folder is an export or another program's, not a workdir."""
    if (folder / "checkpoints").is_dir():
        return False
    held = [name for name in sources.FOLDERS if (folder / name).is_file()]
    return bool(held) and not (
        held == ["config.json"] and "optimizer" in workdir.read_json(folder / "config.json")
    )
