"""`aligngap doctor`: what this machine and a run have, what is wrong, and what to do about it."""

from collections.abc import Iterator
from pathlib import Path

from aligngap import extras
from aligngap.doctor import machine
from aligngap.doctor.finding import Finding


def examine(folder: Path | None) -> Iterator[Finding]:
    """Machine, libraries, devices and corpora, a step on every device, then the run in `folder`.

    AligngapError for a run, where what training needs is not installed.
    """
    if folder is not None:
        extras.need_train("aligngap doctor --workdir")
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
