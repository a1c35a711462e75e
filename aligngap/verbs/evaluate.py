"""`aligngap evaluate`: what the evaluators of a run, an import or an export measure of it."""

import argparse
from pathlib import Path

from aligngap import flags
from aligngap.verbs import processes

OVERRIDES = True


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which model, by which evaluators, on which data; the other processes."""
    parser.add_argument(
        "--workdir", required=True, help="of a run or an import, or an exported model's folder"
    )
    parser.add_argument("--data_dir", default="", help="of the corpus; default: as in training")
    parser.add_argument(
        "--evaluators",
        default="",
        metavar="FILE[:preset]",
        help="a config file's, in place of the run's; --config.evaluators.NAME.FIELD=value of both",
    )
    flags.add_step(parser)
    processes.add_flags(parser)


def run(arguments: argparse.Namespace) -> None:
    """Prints the table of what it wrote."""
    processes.start(arguments)
    import jax

    from aligngap.evaluation import evaluate

    table = evaluate.evaluate(
        Path(arguments.workdir),
        arguments.step,
        arguments.data_dir,
        arguments.evaluators,
        tuple(arguments.overrides),
    )
    if jax.process_index() == 0:
        print(table)
