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
        help="of a run or an import, an exported model's folder, or a sweep's: its finished points "
        "that were not evaluated so; with --compare several",
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
    flags.add_at_once(parser)
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
    from aligngap.runs import sweep

    if sweep.workdirs(workdirs[0]) != workdirs:
        _sweep(workdirs[0], arguments)
        return
    if arguments.at_once > 1:
        raise UsageError(f"--at_once={arguments.at_once}: {workdirs[0]} is no sweep's folder")
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


def _sweep(folder: Path, arguments: argparse.Namespace) -> None:
    """Its points, each by a process of its own."""
    if arguments.step is not None or arguments.num_processes is not None:
        raise UsageError(f"{folder} is a sweep's: --step and several processes are for one point")
    from aligngap.evaluation import of_sweep

    of_sweep.evaluate_all(
        folder,
        flags.without(arguments.command, "--workdir", "--at_once"),
        arguments.at_once,
        arguments.data_dir,
        arguments.evaluators,
        tuple(arguments.overrides),
    )


def _compare(workdirs: list[Path], arguments: argparse.Namespace) -> None:
    """Nothing is evaluated, so that what says how has no meaning."""
    further = {name: getattr(arguments, name) for name in ("step", "data_dir", "evaluators")}
    for name in [f"--{name}" for name, x in further.items() if x] + arguments.overrides:
        raise UsageError(f"--compare reads what was evaluated: {name} goes with evaluate alone")
    from aligngap import atomic
    from aligngap.reporting.compare_page import page
    from aligngap.runs import sweep

    output = Path(arguments.output) if arguments.output else None
    if output is not None:
        atomic.expect_writable(output / "comparison.json")
    print(page.compare(sweep.evaluated(workdirs), output))
