"""What every page is made with: its templates, and a file that is written whole or not at all."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from aligngap.errors import AligngapError
from aligngap.reporting import figures


def render(template: str, content: Mapping[str, Any]) -> str:
    """The page of that template; it has the palette and the modalities' marks besides `content`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # captions, names and commands come from strangers
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    marks = {name: mark for name, (_, mark) in figures.MODALITY_MARKERS.items()}
    return environment.get_template(template).render(
        content, palette=figures.PALETTE, modalities=marks
    )


def write(path: Path, text: str) -> None:
    """All of the page or none of it: a reader never opens half a file.

    Raises AligngapError for an unwritable `path`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            # A file's name may hold bytes that are no UTF-8: the page shows "?" for them.
            with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
            Path(name).chmod(0o644)  # mkstemp lets nobody else read
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise AligngapError(f"{path} cannot be written: {error.strerror or error}") from None
