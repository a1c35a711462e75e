"""`aligngap report`: one page about one or several runs."""

import argparse
from pathlib import Path


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which runs, and the page."""
    parser.add_argument(
        "--workdir", required=True, action="append", help="a run or a sweep; may be repeated"
    )
    parser.add_argument("--output", required=True, help="the HTML file")


def run(arguments: argparse.Namespace) -> None:
    """Prints where the page is."""
    from aligngap import atomic
    from aligngap.reporting.run_page import page
    from aligngap.runs import sweep

    atomic.expect_writable(Path(arguments.output))
    workdirs = sweep.evaluated([Path(workdir) for workdir in arguments.workdir])
    page.build(workdirs, Path(arguments.output))
    print(arguments.output)
