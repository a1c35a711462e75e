"""Models that come with aligngap, by name: the folders here, each a float16 export of a run."""

from pathlib import Path

from aligngap.errors import AligngapError

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Those there are, in alphabetical order."""
    return sorted(path.parent.name for path in FOLDER.glob("*/config.json"))


def find(given: str | Path) -> Path:
    """A folder that is there or that a path names, else that of the model of this name.

    AligngapError for a word that is neither.
    """
    path = Path(given)
    if path.exists() or len(path.parts) != 1:
        return path
    if path.name not in names():
        raise AligngapError(
            f"{given} holds no run, and is none of the models that come with aligngap: "
            f"{', '.join(names())}"
        )
    return FOLDER / path


def holds(folder: Path) -> bool:
    """Whether it is one of these, where nothing is to be written."""
    return folder.parent == FOLDER
