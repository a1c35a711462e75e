"""`aligngap doctor`: what this machine and a run have, what is wrong, and what to do about it."""

from collections.abc import Iterator
from pathlib import Path

from aligngap import extras
from aligngap.doctor import machine
from aligngap.doctor.finding import Finding


def examine(folder: Path | None) -> Iterator[Finding]:
    """Machine, libraries, devices; where training is installed corpora, a step on every device, and
    the run in `folder`."""
    yield from machine.examine(folder)
    if missing := extras.missing():
        yield Finding(
            "note",
            f"{', '.join(missing)} are not installed; only needed for models, corpora and "
            f"training ({extras.INSTALL})",
        )
        return
    from aligngap.doctor import training

    yield from training.examine(folder)
