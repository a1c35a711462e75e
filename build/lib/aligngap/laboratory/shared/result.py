"""What every experiment leaves: its data with seeds and sizes, and a picture made for reading."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from aligngap import atomic
from aligngap.reporting.figures import STYLE
from aligngap.runs import provenance


@dataclass(frozen=True)
class Result:
    """What an experiment found. `settings` and `found` are made of what JSON can hold."""

    name: str
    settings: Mapping[str, Any]  # Every size and seed; `output` is left out.
    found: Mapping[str, Any]
    figure: Figure  # Made under `style()`: labelled axes, units, spread over seeds.
    summary: str  # The lines that the verb prints.
    files: Mapping[str, bytes] = field(default_factory=dict)  # What else it writes, by name.
    at_top: bool = False  # `found` stands at the top of its JSON, where other programs look for it.


def style() -> Any:
    """The context in which a figure is made: the report's fonts and colours, on white."""
    return matplotlib.rc_context(STYLE | {"figure.facecolor": "white", "axes.facecolor": "white"})


def save(result: Result, command: Sequence[str], output: Path) -> None:
    """OUTPUT/NAME.json, NAME.svg, further files; AligngapError where they cannot be written."""
    record = {
        "experiment": result.name,
        "settings": {name: x for name, x in result.settings.items() if name != "output"},
        **(result.found if result.at_top else {"results": result.found}),
        "command": provenance.command_line(command),
        "versions": provenance.versions(),
    }
    atomic.write_json(output / f"{result.name}.json", record)
    drawn = io.StringIO()
    with style():
        result.figure.savefig(drawn, format="svg", metadata={"Date": None}, bbox_inches="tight")
    atomic.write(output / f"{result.name}.svg", drawn.getvalue())
    for name, content in result.files.items():
        atomic.write(output / name, content)
