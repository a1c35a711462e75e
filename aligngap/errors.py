"""What went wrong, in one line that a user can act on. `cli` prints it and exits with its code."""

import os
from collections.abc import Sequence

NAMED = 8  # Of many names, how many a line spells out.


class AligngapError(Exception):
    """The work failed for a reason that the user can see and mend (exit code 1)."""

    exit_code = 1


class UsageError(AligngapError):
    """The command or its config is wrong; nothing has been touched (exit code 2)."""

    exit_code = 2


class StoreError(AligngapError):
    """Where records lie does not answer, or they were changed: the fault of no record, so that no
    other may take its place. The same command goes on once it is mended."""


class Gone(StoreError):
    """The store answers, and has no such thing."""


class Preempted(AligngapError):
    """A signal stopped the work after a save; the same command goes on (exit code 75)."""

    exit_code = os.EX_TEMPFAIL  # 75: "try again later" of sysexits.h.


def some(names: Sequence[str], between: str = ", ") -> str:
    """The first NAMED of them, and how many more there are."""
    after = between.rstrip(", ")  # "a, b and 3 more", but "a; b; and 3 more".
    more = f"{after} and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return between.join(names[:NAMED]) + more
