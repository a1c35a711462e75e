"""A config file with a sweep, as a user writes one."""

from pathlib import Path

CONFIG = """
from configs.quickstart import get_config


def sweep():
    return {points!r}
"""


def write(path: Path, points: dict) -> Path:
    """quickstart's config, with these points."""
    path.write_text(CONFIG.format(points=points))
    return path


def arguments(program, file: Path, folder: Path, *further: str, **overrides) -> list[str]:
    """`train` of that file's alignclip, at the size of the tests' other runs."""
    verb, _, *rest = program.train_arguments(folder, **overrides)
    return [verb, f"--config={file}:alignclip", *rest, *further]
