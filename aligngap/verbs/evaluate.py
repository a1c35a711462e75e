"""`aligngap evaluate`: retrieval, zero-shot and gap of a run."""

import argparse
from pathlib import Path

from aligngap import flags


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which model, on which data."""
    parser.add_argument("--workdir", required=True, help="the run's folder")
    parser.add_argument("--data_dir", default="", help="of the corpus; default: as in training")
    flags.add_step(parser)


def run(arguments: argparse.Namespace) -> None:
    """Prints the table of what it wrote."""
    from aligngap.evaluation import evaluate

    print(evaluate.evaluate(Path(arguments.workdir), arguments.step, arguments.data_dir))
