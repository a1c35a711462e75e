"""What every page is made with: its templates, its colours and its marks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from aligngap.reporting import figures


def render(template: str, content: Mapping[str, Any]) -> str:
    """The page of that template; it has the palette and the modalities' marks besides `content`."""
    # Captions, names and commands come from strangers.
    environment = _environment(autoescape=True)
    # In the order of the data: Bokeh's objects stand before what refers to them.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    marks = {name: mark for name, (_, mark) in figures.MODALITY_MARKERS.items()}
    return environment.get_template(template).render(
        content, palette=figures.PALETTE, modalities=marks
    )


def markdown(template: str, content: Mapping[str, Any]) -> str:
    """A page in Markdown; of `content` nothing is escaped, so that no text of strangers may be in
    it."""
    page = _environment(autoescape=False).get_template(template).render(content)
    return page.rstrip() + "\n"


def _environment(autoescape: bool) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
