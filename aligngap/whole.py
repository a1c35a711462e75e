"""Files that are written whole or not at all."""

import os
import tempfile
from pathlib import Path

from aligngap.errors import AligngapError


def write(path: Path, content: str | bytes) -> None:
    """All of the content or none of it: a reader never opens half a file. Text is UTF-8.

    Raises AligngapError for an unwritable `path`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            # A file's name may hold bytes that are no UTF-8: a page shows "?" for them.
            encoded = content.encode(errors="replace") if isinstance(content, str) else content
            with os.fdopen(handle, "wb") as file:
                file.write(encoded)
            Path(name).chmod(0o644)  # mkstemp lets nobody else read
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise AligngapError(f"{path} cannot be written: {error.strerror or error}") from None
