"""`aligngap export`: a model's weights for other programs."""

import argparse
from pathlib import Path

from aligngap import flags
from aligngap.interop import FORMATS


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which model, for whom, and to where."""
    parser.add_argument(
        "--workdir",
        required=True,
        help="a trained or imported model's folder, or the name of one that comes with aligngap",
    )
    parser.add_argument("--format", required=True, choices=FORMATS, help="who is to read it")
    parser.add_argument("--output", required=True, metavar="DIR", help="a new folder")
    parser.add_argument(
        "--dtype",
        choices=("float32", "float16"),
        default="float32",
        help="of --format=npz; float16 measures what it costs, and the card says it",
    )
    flags.add_step(parser)


def run(arguments: argparse.Namespace) -> None:
    """Prints what was written."""
    from aligngap.interop import export

    workdir, output = Path(arguments.workdir), Path(arguments.output)
    print(export.export(workdir, arguments.format, output, arguments.step, arguments.dtype))
