"""`aligngap bench NAME`: time, memory and arithmetic on this machine."""

import argparse
import importlib
from typing import Any

from aligngap import flags
from aligngap.benchmarks import BENCHMARKS
from aligngap.errors import UsageError

NAMED = BENCHMARKS


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which benchmark; each has flags of its own."""
    flags.list_named(parser, "bench", "benchmarks", NAMED)
    parser.add_argument("name", metavar="NAME", choices=NAMED, help="what is measured")


def run(arguments: argparse.Namespace) -> None:
    """A name that is not the first word is no command."""
    raise UsageError(f"expected `aligngap bench {arguments.name}` and then its flags")


def named(name: str) -> Any:
    """The room of that benchmark, with its own `add_flags` and `run`."""
    return importlib.import_module(f"aligngap.benchmarks.{name}")
