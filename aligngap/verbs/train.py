"""`aligngap train`: trains a model or the points of a sweep, or continues what was begun."""

import argparse
import os
from pathlib import Path
from typing import Any

from aligngap import flags, xla_flags
from aligngap.errors import UsageError
from aligngap.verbs import processes

OVERRIDES = True
ALL = ""  # The value of --sweep alone.


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The config, the folder, where to start from; the other processes."""
    parser.add_argument(
        "--config", required=True, help="FILE[:preset]; then --config.key=value ..."
    )
    parser.add_argument("--workdir", help="folder of the run, or sweep (needed unless --dry_run)")
    parser.add_argument(
        "--sweep",
        nargs="?",
        const=ALL,
        metavar="POINT",
        help="train the points that sweep() of the config file names, each in WORKDIR/NAME, or one "
        "of them: its name, or its number from 0",
    )
    flags.add_at_once(parser)
    parser.add_argument(
        "--topology", default="", metavar="KIND-N", help="of --dry_run, e.g. v5e-256 or h100-64"
    )
    processes.add_flags(parser)
    parser.add_argument(
        "--init_from", metavar="DIR", help="start from another workdir's model, trained or imported"
    )
    parser.add_argument("--dry_run", action="store_true", help="lower the step, print its costs")


def run(arguments: argparse.Namespace) -> None:
    """The whole run or sweep, or with --dry_run what it would cost and which points there are."""
    folder = Path(arguments.workdir) if arguments.workdir else None
    if arguments.at_once > 1 and arguments.sweep != ALL:
        raise UsageError(f"--at_once={arguments.at_once} goes with --sweep, without a point")
    if arguments.topology and (not arguments.dry_run or arguments.sweep == ALL):
        raise UsageError(
            f"--topology={arguments.topology} goes with --dry_run, of a config or a sweep's point"
        )
    overrides = list(arguments.overrides)
    if arguments.init_from:
        overrides.append(f"--config.init_from={arguments.init_from}")
    if arguments.sweep is None:
        from aligngap import config as configs

        config = configs.load(arguments.config, overrides)
        _expect_folder(arguments)
        _run(config, folder, arguments)
        return
    from aligngap.runs import sweep

    points = sweep.points(arguments.config, overrides)
    _expect_folder(arguments)
    if arguments.sweep == ALL:
        _sweep(points, folder, arguments)
        return
    point = sweep.find(points, arguments.sweep)
    if folder is not None and not arguments.dry_run:
        sweep.check(folder, points)
        sweep.record(folder, points)
    _run(point.config, folder and folder / point.name, arguments)


def _expect_folder(arguments: argparse.Namespace) -> None:
    """After the overrides, among which a misspelt --workdir stands, were read."""
    if not (arguments.workdir or arguments.dry_run):
        raise UsageError("train needs --workdir=DIR (or --dry_run)")


def _run(config: Any, folder: Path | None, arguments: argparse.Namespace) -> None:
    if arguments.dry_run or folder is None:
        from aligngap.training import dry_run

        print(dry_run.describe(config, arguments.topology))
        return
    xla_flags.give(os.environ, config.deterministic)
    processes.start(arguments)
    from aligngap.runs import provenance
    from aligngap.training import loop, run

    prepared = run.prepare(config, folder)
    provenance.record(prepared.workdir, arguments.command)
    loop.train(prepared)


def _sweep(points: list[Any], folder: Path | None, arguments: argparse.Namespace) -> None:
    """One process goes through the points, which do not know of each other."""
    from aligngap.parallel import distributed
    from aligngap.runs import sweep
    from aligngap.training import in_turn

    in_turn.on_cpu()
    if folder is not None:
        sweep.check(folder, points)
    if arguments.dry_run or folder is None:
        print(in_turn.listing(points, folder))
        return
    if arguments.num_processes is not None or distributed.launched():
        raise UsageError(
            "several processes train one point together: --sweep=POINT (a SLURM array gives each "
            "of its jobs one: docs/training.md)"
        )
    sweep.record(folder, points)
    command = flags.without(arguments.command, "--at_once", alone="--sweep")
    in_turn.train(points, folder, command, arguments.at_once)
