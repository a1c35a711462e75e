"""tcmalloc, where it is installed, in place of glibc's malloc for programs that compute on a CPU.

XLA's CPU client asks for a step's temporaries anew in each step. glibc takes an allocation of that
size from the kernel and gives it back afterwards, so that every page of it is faulted in and
zeroed again in each step: a third of quickstart's time (docs/speed.md). tcmalloc keeps it. A
library takes malloc's place only as a process starts, so the command starts itself again with it.
"""

import ctypes
import os
import sys
from collections.abc import Mapping

from aligngap import xla_flags

VARIABLE = "LD_PRELOAD"
# Of gperftools, as Debian (libtcmalloc-minimal4), Ubuntu and Fedora (gperftools-libs) install them.
LIBRARIES = ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4")
SETTINGS = {
    "TCMALLOC_LARGE_ALLOC_REPORT_THRESHOLD": str(2**50),  # It would tell of each above 1 GiB.
    "TCMALLOC_RELEASE_RATE": "0",  # It would give some of its pages back now and then.
}
HINT = (
    "tcmalloc is not installed; with it a training step on a CPU takes up to a third less time "
    "(Debian, Ubuntu: apt-get install libtcmalloc-minimal4)"
)


def start_again() -> None:
    """Replaces this process by the same command with tcmalloc, where that is to be had and nothing
    is preloaded yet; else does nothing."""
    if more := additions(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **more})


def additions(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a process is to be started with; {}: none, since a user has set some, an
    accelerator computes, or there is no tcmalloc."""
    if VARIABLE in environment or any(xla_flags.installed(environment)):
        return {}
    library = find()
    ours = {name: value for name, value in SETTINGS.items() if name not in environment}
    return {VARIABLE: library, **ours} if library else {}


def find() -> str:
    """The name by which the loader finds tcmalloc, or ""."""
    if not sys.platform.startswith("linux"):
        return ""
    return next(filter(_loads, LIBRARIES), "")


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
