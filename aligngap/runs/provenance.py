"""How a run was made: its commands, and the versions that made it."""

import platform
import shlex
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import jax

LIBRARIES = ("aligngap", "jax", "jaxlib", "optax", "numpy", "scipy", "pillow", "scikit-learn")
OF_TRAINING = (
    *("flax", "orbax-checkpoint", "grain", "tensorflow-datasets", "tokenizers", "sentencepiece"),
)  # Where they are installed: no measure of embeddings depends on them.


def record(workdir: Path, arguments: Sequence[str]) -> None:
    """Appends the command to the workdir's commands.txt, one line for each start, and the commit
    of this code, where it is known, to commits.txt."""
    if jax.process_index():
        return
    for name, line in (("commands.txt", command_line(arguments)), ("commits.txt", commit())):
        if line:
            with (workdir / name).open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def command_line(arguments: Sequence[str]) -> str:
    """The command as one would type it into a shell."""
    return shlex.join(["aligngap", *arguments])


def commands(workdir: Path) -> list[str]:
    """The distinct commands that made what the workdir holds, in the order of their first use."""
    return _distinct(workdir / "commands.txt")


def commits(workdir: Path) -> list[str]:
    """The commits that trained what the workdir holds, in the order of their first use."""
    return _distinct(workdir / "commits.txt")


def commit() -> str:
    """The commit of the checkout that this code runs from, with "-dirty" where files in it have
    changed since; "" for an installed package, or without git."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return ""
    # Without locks: of one that a killed process leaves, every later commit there would fail.
    words = ["git", "--no-optional-locks", "describe"]
    words += ["--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(words, cwd=checkout, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def _distinct(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return list(dict.fromkeys(lines))


def versions() -> dict[str, str]:
    """Version of Python and of every library that a figure depends on, the commit where this code
    has one, and the device."""
    found = {"python": platform.python_version()}
    if known := commit():
        found["commit"] = known
    for name in (*LIBRARIES, *OF_TRAINING):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name in LIBRARIES:  # A checkout on the path, not installed.
                found[name] = "not installed"
    devices = jax.devices()
    found["device"] = f"{len(devices)} × {devices[0].device_kind}"
    return found
