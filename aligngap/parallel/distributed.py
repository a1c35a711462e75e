"""Several processes: how they find each other, and how they learn of each other's failures."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np
from jax.experimental import multihost_utils

from aligngap.errors import AligngapError, UsageError

WORDS = 400  # Bytes of a message that travels.


def start(address: str | None, processes: int | None, process: int | None) -> None:
    """Joins the other processes, before anything touches a device.

    Without arguments: as SLURM, Open MPI, GKE or a TPU pod says; where nothing has started several
    processes this one is alone. UsageError where the arguments do not fit each other.
    """
    given = (address, processes, process)
    if any(x is not None for x in given) and None in given:
        raise UsageError(
            "--coordinator_address, --num_processes and --process_id go together (or none of them, "
            "where SLURM, Open MPI, GKE or a TPU pod says so)"
        )
    try:
        jax.distributed.initialize(address, processes, process)
    except ValueError as error:
        if address is None and "coordinator_address" in str(error):
            return  # No launcher that JAX knows.
        raise UsageError(f"the processes cannot be started: {error}") from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:WORDS]
        raise AligngapError(f"the other processes were not found: {reason}") from error


@contextmanager
def together() -> Iterator[None]:
    """No process leaves the body before all are through it, and none goes on where one failed."""
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    words = first_words(str(failure) or type(failure).__name__ if failure else "")
    if failure is not None:
        raise failure
    if words:
        raise AligngapError(f"another process failed: {words}")


def first_words(words: str) -> str:
    """The words of the first process that has any, on all processes."""
    if jax.process_count() == 1:
        return words
    own = np.zeros(WORDS, np.uint8)
    encoded = np.frombuffer(words.encode()[:WORDS], np.uint8)
    own[: len(encoded)] = encoded
    for row in multihost_utils.process_allgather(own):
        if said := bytes(row).rstrip(b"\0").decode(errors="replace"):
            return said
    return ""
