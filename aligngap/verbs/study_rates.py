"""`aligngap study rates`: each method's learning rate, by the mean of R@10 both ways on validation.

Reads the runs of a sweep over rates as training has left them, and no test split.
"""

import argparse
from pathlib import Path


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which runs."""
    parser.add_argument(
        "--workdir",
        required=True,
        action="append",
        help="the sweep over rates, trained; may be repeated",
    )


def run(arguments: argparse.Namespace) -> None:
    """Prints what each rate reached, and the choice as configs/study/study.py takes it."""
    from aligngap.reporting.study_page import rates

    print("\n".join(rates.lines(rates.choose(rates.read(list(map(Path, arguments.workdir)))))))
