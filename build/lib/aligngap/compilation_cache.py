"""What XLA has compiled is kept on disk, and a command that starts again reads it in seconds.

This is JAX's persistent compilation cache. Its key holds the program, the flags of XLA, the
versions of jaxlib and of the backend, the devices, and of a CPU the instructions that it has, so
that machines of several kinds may share a home folder. JAX reads its variables when it is
imported: `keep` comes before. Whatever a user has set stays.
"""

import contextlib
import os
from collections.abc import MutableMapping
from pathlib import Path

FOLDER = "JAX_COMPILATION_CACHE_DIR"
SWITCH = "JAX_ENABLE_COMPILATION_CACHE"
LIMIT = "JAX_COMPILATION_CACHE_MAX_SIZE"
DEFAULTS = {
    LIMIT: str(2 * 2**30),  # Bytes; what was not used for longest goes first. "-1": no limit.
    # Seconds that compiling took. Many an operation outside of a step takes 10 to 50 ms, which
    # reading it back would too.
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
}
OFF = ("0", "false", "off", "no", "f", "n")
# JAX's names of an entry's two files. The second, when it was last used, is written after the first
# is whole, both under the lock.
PROGRAM, USED, LOCK = "-cache", "-atime", ".lockfile"
PATIENCE = 10.0  # Seconds that another process may hold the lock: as long as JAX waits.


def keep(environment: MutableMapping[str, str]) -> str:
    """Turns the cache on by JAX's variables; returns why it cannot be, in a line, or ""."""
    if FOLDER in environment or environment.get(SWITCH, "1").lower() in OFF:
        return ""
    try:
        folder = default_folder(environment)
        # As the code in it is run, nobody else may write there.
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied", str(folder))
        if environment.get(LIMIT, DEFAULTS[LIMIT]) != "-1":
            sweep(folder)
    except (OSError, RuntimeError) as error:  # RuntimeError: nobody knows a home folder.
        return (
            f"every start compiles anew, for what is compiled cannot be kept ({error}): "
            f"{FOLDER}=DIR says where else, {SWITCH}=0 that it need not be"
        )
    environment[FOLDER] = str(folder)
    for name, value in DEFAULTS.items():
        environment.setdefault(name, value)
    return ""


def default_folder(environment: MutableMapping[str, str]) -> Path:
    """~/.cache/aligngap/xla, or where XDG_CACHE_HOME says; RuntimeError without a home folder."""
    base = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "aligngap" / "xla"


def sweep(folder: Path) -> None:
    """Removes entries that a process left half written when it was killed.

    JAX would try to read such a one at each start, and keep nothing further for want of its USED.
    """
    if not _half_written(folder):
        return
    from filelock import FileLock, Timeout

    with contextlib.suppress(Timeout), FileLock(folder / LOCK, timeout=PATIENCE):
        for path in _half_written(folder):  # Again: one may have been in the making.
            path.unlink(missing_ok=True)


def _half_written(folder: Path) -> list[Path]:
    names = {path.name for path in folder.iterdir()}
    programs = (name for name in names if name.endswith(PROGRAM))
    return [folder / name for name in programs if name.removesuffix(PROGRAM) + USED not in names]
