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
    folder = Path(arguments.workdir) if arguments.workdir else None
    if folder:
        extras.need_train("aligngap doctor --workdir")
        from aligngap.runs import workdir

        workdir.read_config(folder)  # Before a step is trained: a folder may hold no run.
    from aligngap import doctor

    findings = list(doctor.examine(folder))
    for finding in findings:
        print(finding.line, flush=True)
    if wrong := sum(finding.grade == "WRONG" for finding in findings):
        raise AligngapError(f"{wrong} of {len(findings)} findings are wrong, see above")
