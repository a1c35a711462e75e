"""The one command `aligngap`: a list of verbs, each with its flags in a room of `verbs/`."""

import argparse
import difflib
import importlib
import keyword
import os
import select
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

from aligngap import addresses, allocator, compilation_cache, extras, xla_flags
from aligngap.errors import AligngapError, UsageError

# name: what `aligngap --help` says of it. The room in `verbs/` has the same name.
VERBS = {
    "prepare": "fetch and build a corpus, or fetch a tokenizer",
    "train": "train a model, or continue its run",
    "evaluate": "retrieval, zero-shot, gap and further measures of a model",
    "embed": "embeddings of images and texts that you have",
    "gap": "the modality gap of embeddings that you have",
    "import": "a model trained elsewhere becomes a workdir",
    "export": "a model's weights for other programs",
    "report": "one page about one or several runs",
    "study": "methods and seeds of a sweep: results, the papers' tables and claims",
    "doctor": "what this machine and a run lack, and what to do",
    "bench": "time, memory and arithmetic on this machine",
}

COMPUTE = (
    "train",
    "evaluate",
    "embed",
    "bench",
)  # Verbs to which their memory's allocator matters.
RESUMED = ("prepare", "train", "embed")  # Verbs that save as they go.
LONGEST = 2_000  # Characters of an error.
LIGHT = ("gap", "doctor")  # Verbs that need nothing of aligngap[train], or say what of them does.


class _Parser(argparse.ArgumentParser):
    """argparse, with its errors in this program's one line."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(f"{message}; see `{self.prog} --help`")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; exit code 0 done, 1 failure, 2 wrong usage or config, 75 preempted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        # Information about what the backend did not find is of no use to a user.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        if arguments is None and given[:1] and given[0] in COMPUTE:
            allocator.start_again()
        # Before any room imports JAX, which reads its variables then.
        xla_flags.give(os.environ)
        nothing_kept = compilation_cache.keep(os.environ)
        _check_secrets(given)
        _check_installed(given)
        room, parsed = _parse_named(given) or _parse(given)
        parsed.command = given
        if nothing_kept:
            print(f"aligngap: {nothing_kept}", file=sys.stderr)
        room.run(parsed)
        sys.stdout.flush()  # Here, since Python would show a traceback where its reader has gone.
    except AligngapError as error:
        print(f"aligngap: {_line(error)}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if not (isinstance(error, BrokenPipeError) and _unread()):
            print(f"aligngap: {_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(_interrupted(given), file=sys.stderr)
        return 1
    return 0


def _line(error: Exception) -> str:
    """What it says in one line that can be read, whatever it quotes of a stranger's file."""
    line = " ".join(str(error).splitlines())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} …"


def _unread() -> bool:
    """Whether it is stdout whose reader has gone (`| head`): what is left then goes nowhere."""
    poll = select.poll()
    poll.register(sys.stdout, 0)  # Errors alone, which are always told.
    if not poll.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _interrupted(given: Sequence[str]) -> str:
    goes_on = "; the same command goes on from the last save"
    return f"aligngap: interrupted{goes_on if given and given[0] in RESUMED else ''}"


def _interrupt(number: int, frame: FrameType | None) -> None:
    """A KeyboardInterrupt, except while modules are imported: those of numpy and JAX turn it into
    other errors with their tracebacks, or abort."""
    at = frame
    while at is not None:
        if at.f_code.co_filename.startswith("<frozen importlib"):
            print(_interrupted(sys.argv[1:]), file=sys.stderr, flush=True)
            os._exit(1)
        at = at.f_back
    signal.default_int_handler(number, frame)


def _check_secrets(given: list[str]) -> None:
    """UsageError, before a command is parsed or recorded, for credentials in an address."""
    for argument in filter(addresses.has_credentials, given):
        raise UsageError(
            f"{addresses.redacted(argument)} holds credentials, which pages and logs would repeat: "
            f"{addresses.HOW}"
        )


def _check_installed(given: list[str]) -> None:
    """AligngapError for a verb without the packages that it needs; its help needs none."""
    verb = given[0] if given else ""
    if verb in VERBS and verb not in LIGHT and not {"-h", "--help"} & {*given}:
        extras.need_train(f"aligngap {verb}")


def _parse(given: list[str]) -> tuple[Any, argparse.Namespace]:
    """(the verb's room, its arguments); what a room may have: `verbs/__init__.py`."""
    parser = _Parser(prog="aligngap", description="Measure, explain and close the modality gap.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, summary in VERBS.items():
        verb = verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        _room(name).add_flags(verb)
    parsed, rest = parser.parse_known_args(given)
    room = _room(parsed.verb)
    if rest and not getattr(room, "OVERRIDES", False):
        raise UsageError(f"unknown argument {rest[0]!r}; see `aligngap {parsed.verb} --help`")
    parsed.overrides = rest
    return room, parsed


def _parse_named(given: list[str]) -> tuple[Any, argparse.Namespace] | None:
    """Of `aligngap VERB NAME ...`, where that verb's room has rooms of that name; else None."""
    verb, name, *_ = [*given, "", ""]
    room = _room(verb) if verb in VERBS else None
    summaries = getattr(room, "NAMED", {})
    if room is None or not summaries or not name or name.startswith("-"):
        return None
    if name not in summaries:
        near = difflib.get_close_matches(name, summaries, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"unknown `aligngap {verb} {name}`{hint}; see `aligngap {verb} --help`")
    named = room.named(name)
    parser = _Parser(prog=f"aligngap {verb} {name}", allow_abbrev=False)
    parser.description = summaries[name]
    named.add_flags(parser)
    if not getattr(named, "OVERRIDES", False):
        return named, parser.parse_args(given[2:])
    parsed, rest = parser.parse_known_args(given[2:])
    parsed.overrides = rest
    return named, parsed


def _room(verb: str) -> Any:
    """`import` is a word of Python's own: its room is `import_`."""
    return importlib.import_module(f"aligngap.verbs.{verb}{'_' * keyword.iskeyword(verb)}")


if __name__ == "__main__":
    sys.exit(main())
