"""`aligngap study why`: what each part of tied CUAXU does, of a sweep over its parts and knobs."""

import argparse
from pathlib import Path


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which runs, and the folder of the page."""
    parser.add_argument(
        "--workdir",
        action="append",
        default=[],
        help="the sweep of configs/study/why.py, evaluated on validation, that is added to what "
        "the folder of the page keeps; may be repeated",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        help="folder of README.md, its pictures, and what they are made of",
    )


def run(arguments: argparse.Namespace) -> None:
    """Prints the effects, and where the page is."""
    from aligngap.reporting.why_page import page

    output = Path(arguments.output)
    print(page.build(list(map(Path, arguments.workdir)), output))
    print(output / page.PAGE)
