"""`aligngap study`: a sweep of methods and seeds as one page; `study rates`: which rate."""

import argparse
import importlib
from pathlib import Path
from typing import Any

from aligngap import flags

# name: what `aligngap study --help` says of it. The room is `verbs/study_NAME`.
NAMED = {
    "rates": "each method's learning rate, chosen on validation by a sweep over rates",
    "why": "what each part of tied CUAXU does, and what it is trained with",
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which runs, by which rates were chosen, and the folder of the page."""
    flags.list_named(parser, "study", "further", NAMED)
    parser.add_argument(
        "--workdir",
        action="append",
        default=[],
        help="a sweep or a run, evaluated by --evaluators=configs/study/evaluators.py, that is "
        "added to what the folder of the page keeps; may be repeated",
    )
    parser.add_argument(
        "--rates",
        action="append",
        default=[],
        metavar="DIR",
        help="a sweep by which rates were chosen: the page then shows the choice",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        help="folder of README.md and its picture, and of what they are made of: results.json, "
        "rates.json and draws/ keep what they have of other runs",
    )


def run(arguments: argparse.Namespace) -> None:
    """Prints the claims with their verdicts, and where the page is."""
    from aligngap.reporting.study_page import page

    output = Path(arguments.output)
    workdirs, rated = (list(map(Path, each)) for each in (arguments.workdir, arguments.rates))
    print(page.build(workdirs, rated, output))
    print(output / "README.md")


def named(name: str) -> Any:
    """What `aligngap study NAME` does."""
    return importlib.import_module(f"aligngap.verbs.study_{name}")
