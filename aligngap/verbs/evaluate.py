"""`aligngap evaluate`: what the evaluators of a run, an import or an export measure of it."""

import argparse
from pathlib import Path

from aligngap import flags
from aligngap.errors import UsageError
from aligngap.verbs import processes

OVERRIDES = True


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which model, by which evaluators, on which data; the other processes."""
    parser.add_argument(
        "--workdir",
        required=True,
        action="append",
        help="of a run or an import, or an exported model's folder; with --compare several, or a "
        "sweep's",
    )
    parser.add_argument(
        "--compare",
        action="store_true",
        help="set beside each other what evaluated runs reached: means over runs that differ in "
        "nothing but the seed, and differences to the first method with paired intervals",
    )
    parser.add_argument(
        "--output", metavar="DIR", help="with --compare: folder for comparison.json and report.html"
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
    """Prints the table of what it wrote, or of what runs have left."""
    workdirs = [Path(workdir) for workdir in arguments.workdir]
    if arguments.compare:
        _compare(workdirs, arguments)
        return
    if len(workdirs) > 1 or arguments.output:
        given = "--output" if arguments.output else "more than one --workdir"
        raise UsageError(f"{given} goes with --compare, which reads what was evaluated")
    processes.start(arguments)
    import jax

    from aligngap.evaluation import evaluate

    table = evaluate.evaluate(
        workdirs[0],
        arguments.step,
        arguments.data_dir,
        arguments.evaluators,
        tuple(arguments.overrides),
    )
    if jax.process_index() == 0:
        print(table)


def _compare(workdirs: list[Path], arguments: argparse.Namespace) -> None:
    """Nothing is evaluated, so that what says how has no meaning."""
    further = {name: getattr(arguments, name) for name in ("step", "data_dir", "evaluators")}
    for name in [f"--{name}" for name, x in further.items() if x] + arguments.overrides:
        raise UsageError(f"--compare reads what was evaluated: {name} goes with evaluate alone")
    from aligngap.reporting.compare_page import page
    from aligngap.runs import sweep

    print(
        page.compare(
            sweep.evaluated(workdirs), Path(arguments.output) if arguments.output else None
        )
    )
