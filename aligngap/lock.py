"""One process at a time in a folder."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from aligngap import progress
from aligngap.errors import AligngapError


@contextlib.contextmanager
def alone(path: Path, refusal: str | None = None) -> Iterator[IO[str]]:
    """Holds the lock file `path`, made where it is missing; the system frees it with the process.

    Where another process holds it: AligngapError of `refusal`, or, without one, waits and says so.
    A process that is given the file (`pass_fds`) holds it too.
    """
    with path.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if refusal is not None:
                raise AligngapError(refusal) from error
            progress.say(f"Waiting for another process that holds {path}")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield held
