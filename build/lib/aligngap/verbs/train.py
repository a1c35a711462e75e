"""`aligngap train`: trains a model, or continues its run."""

import argparse
import os
from pathlib import Path

from aligngap import xla_flags
from aligngap.errors import UsageError
from aligngap.verbs import processes

OVERRIDES = True


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The config, the folder, where to start from; the other processes."""
    parser.add_argument(
        "--config", required=True, help="FILE[:preset]; then --config.key=value ..."
    )
    parser.add_argument("--workdir", help="the run's folder (needed unless --dry_run)")
    parser.add_argument(
        "--topology", default="", metavar="KIND-N", help="of --dry_run, e.g. v5e-256 or h100-64"
    )
    processes.add_flags(parser)
    parser.add_argument(
        "--init_from", metavar="DIR", help="start from another workdir's model, trained or imported"
    )
    parser.add_argument("--dry_run", action="store_true", help="lower the step, print its costs")


def run(arguments: argparse.Namespace) -> None:
    """The whole run, or with --dry_run what it would cost."""
    from aligngap import config as configs

    config = configs.load(arguments.config, arguments.overrides)
    config.init_from = arguments.init_from or config.init_from
    if arguments.dry_run:
        from aligngap.training import dry_run

        print(dry_run.describe(config, arguments.topology))
        return
    if not arguments.workdir:
        raise UsageError("train needs --workdir=DIR (or --dry_run)")
    xla_flags.give(os.environ, config.deterministic)
    processes.start(arguments)
    from aligngap.runs import provenance
    from aligngap.training import loop, run

    prepared = run.prepare(config, Path(arguments.workdir))
    provenance.record(prepared.workdir, arguments.command)
    loop.train(prepared)
