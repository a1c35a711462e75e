"""What `pip install aligngap` leaves to aligngap[train], and the line for who needs it."""

import importlib.util

from aligngap.errors import AligngapError

# The modules of pyproject.toml's extra `train`, of those that it installs on every platform.
TRAIN = (
    *("array_record", "braceexpand", "einops", "etils", "flatbuffers", "flax", "fsspec", "ftfy"),
    *("grain", "orbax", "pyarrow", "resvg_py", "sentencepiece", "tensorboardX"),
    *("tensorflow_datasets", "tokenizers"),
)
INSTALL = "pip install 'aligngap[train]'"


def missing() -> list[str]:
    """Those modules of aligngap[train] that are not installed; nothing is imported."""
    return [name for name in TRAIN if importlib.util.find_spec(name) is None]


def need_train(what: str) -> None:
    """AligngapError where a module is missing that `what` needs."""
    if missing():
        raise AligngapError(f"{what} needs aligngap[train]: {INSTALL}")
