"""What the flags of several verbs have in common."""

import argparse


def positive(text: str) -> int:
    """The `type` of a flag that is a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def add_step(parser: argparse.ArgumentParser) -> None:
    """Which checkpoint of a run is meant."""
    parser.add_argument("--step", type=int, help="of a kept checkpoint; default: the newest")


def list_named(
    parser: argparse.ArgumentParser, verb: str, what: str, named: dict[str, str]
) -> None:
    """At the end of a verb's help: what `aligngap VERB NAME` may be."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"{what}, each with a --help of its own:\n" + "\n".join(
        f"  aligngap {verb} {name:<12} {summary}" for name, summary in named.items()
    )
