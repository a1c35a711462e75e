"""The flags by which the processes of one run find each other, for the verbs that have several."""

import argparse

from aligngap.flags import positive


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Where the processes meet, how many they are, and which of them this is."""
    parser.add_argument("--coordinator_address", metavar="HOST:PORT", help="of process 0")
    parser.add_argument("--num_processes", type=positive, metavar="N", help="of this run")
    parser.add_argument("--process_id", type=int, metavar="I", help="of this process, from 0")


def start(arguments: argparse.Namespace) -> None:
    """Joins the other processes, before anything touches a device; UsageError as `distributed`."""
    from aligngap.parallel import distributed

    distributed.start(arguments.coordinator_address, arguments.num_processes, arguments.process_id)
