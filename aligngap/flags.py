"""What the flags of several verbs have in common."""

import argparse
from collections.abc import Sequence

from aligngap import modalities
from aligngap.errors import UsageError

FURTHER = "further modality: NAME of letters, digits, _ and -, FILE as of --image"


def positive(text: str) -> int:
    """The `type` of a flag that is a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def named_file(text: str) -> tuple[str, str]:
    """The `type` of a flag NAME:FILE, the file of a further modality."""
    name, found, file = text.partition(":")
    if not (found and name and file):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:FILE")
    modalities.expect_further([name])
    return name, file


def add_modality(parser: argparse.ArgumentParser, what: str) -> None:
    """--modality=NAME:FILE, as often as wanted; `what` rows of each are."""
    parser.add_argument(
        "--modality",
        type=named_file,
        action="append",
        default=[],
        metavar="NAME:FILE",
        help=f"{FURTHER}; {what}; repeatable",
    )


def by_name(given: list[tuple[str, str]]) -> dict[str, str]:
    """Name → file of every --modality; UsageError for a name that comes twice."""
    found = dict(given)
    if len(found) < len(given):
        names = [name for name, _ in given]
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"--modality={twice} was given twice; expected one file a modality")
    return found


def add_at_once(parser: argparse.ArgumentParser) -> None:
    """How many points of a sweep at a time."""
    parser.add_argument(
        "--at_once",
        type=positive,
        default=1,
        metavar="N",
        help="of a sweep, on a CPU: N points at a time, each on its share of the cores",
    )


def without(command: Sequence[str], *valued: str, alone: str = "") -> list[str]:
    """A command without these flags and their values, and without `alone`, which has none."""
    words, kept = iter(command), []
    for word in words:
        if word in valued:
            next(words, None)
        elif word != alone and word.partition("=")[0] not in valued:
            kept.append(word)
    return kept


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
