"""How a run was made: its commands, and the versions that made it."""

import platform
import shlex
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import jax

LIBRARIES = ("aligngap", "jax", "jaxlib", "optax", "numpy", "scipy", "pillow", "scikit-learn")
OF_TRAINING = (
    *("flax", "orbax-checkpoint", "grain", "tensorflow-datasets", "tokenizers", "sentencepiece"),
)  # Where they are installed: no measure of embeddings depends on them.


def record(workdir: Path, arguments: Sequence[str]) -> None:
    """Appends the command to the workdir's commands.txt, one line for each start."""
    if jax.process_index():
        return
    with (workdir / "commands.txt").open("a", encoding="utf-8") as file:
        file.write(command_line(arguments) + "\n")


def command_line(arguments: Sequence[str]) -> str:
    """The command as one would type it into a shell."""
    return shlex.join(["aligngap", *arguments])


def commands(workdir: Path) -> list[str]:
    """The distinct commands that made what the workdir holds, in the order of their first use."""
    path = workdir / "commands.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return list(dict.fromkeys(lines))


def versions() -> dict[str, str]:
    """Version of Python and of every library that a figure depends on, and the device."""
    found = {"python": platform.python_version()}
    for name in (*LIBRARIES, *OF_TRAINING):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name in LIBRARIES:  # A checkout on the path, not installed.
                found[name] = "not installed"
    devices = jax.devices()
    found["device"] = f"{len(devices)} × {devices[0].device_kind}"
    return found
