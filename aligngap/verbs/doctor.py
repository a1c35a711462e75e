"""`aligngap doctor`: what this machine and a run lack, and what to do."""

import argparse
from pathlib import Path

from aligngap import extras
from aligngap.errors import AligngapError


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which run, if any."""
    parser.add_argument(
        "--workdir", help="a run to look into: its checkpoints are read and checked"
    )


def run(arguments: argparse.Namespace) -> None:
    """A line a finding; AligngapError where one is wrong."""
    if arguments.workdir:
        extras.need_train("aligngap doctor --workdir")
    from aligngap import doctor

    workdir = Path(arguments.workdir) if arguments.workdir else None
    findings = list(doctor.examine(workdir))
    for finding in findings:
        print(finding.line, flush=True)
    if wrong := sum(finding.grade == "WRONG" for finding in findings):
        raise AligngapError(f"{wrong} of {len(findings)} findings are wrong, see above")
