"""What went wrong, in one line that a user can act on. `cli` prints it and exits with its code."""


class AligngapError(Exception):
    """The work failed for a reason that the user can see and mend (exit code 1)."""

    exit_code = 1


class UsageError(AligngapError):
    """The command or its config is wrong; nothing has been touched (exit code 2)."""

    exit_code = 2
