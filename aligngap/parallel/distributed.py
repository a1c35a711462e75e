"""Several processes: how they find each other, and how they learn of each other's failures."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from aligngap.errors import AligngapError, UsageError

WORDS = 400  # Bytes of a message that travels.
ROWS = 4096  # Of an array that travels.
SIZES = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")  # Variables: how many processes.


def start(address: str | None, processes: int | None, process: int | None) -> None:
    """Joins the other processes, before anything touches a device.

    Without arguments: as SLURM, Open MPI, GKE or a TPU pod says; where nothing has started several
    processes this one is alone. UsageError where the arguments do not fit each other, or a launcher
    does not say where the processes meet.
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
            if not launched():
                return  # No launcher that JAX knows.
            raise UsageError(
                "several processes were started, and not told where to meet (as by Open MPI from "
                "5.0 on): give each --coordinator_address, --num_processes and --process_id"
            ) from error
        raise UsageError(f"the processes cannot be started: {error}") from error
    except RuntimeError as error:
        if address is None and "before any JAX calls" in str(error):
            return  # Called from Python that is at work already, alone.
        reason = " ".join(str(error).split())[:WORDS]
        raise AligngapError(f"the other processes were not found: {reason}") from error


def launched() -> bool:
    """Whether SLURM or Open MPI has started several processes, as their variables say."""
    return any(int(os.environ.get(name, 1)) > 1 for name in SIZES)


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


def gathered(own: Any) -> list[Any]:
    """What each process gives, in their order, on all of them; anything that JSON can hold."""
    if jax.process_count() == 1:
        return [own]
    content = np.frombuffer(json.dumps(own).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.array(len(content)))
    padded = np.zeros(int(sizes.max()), np.uint8)
    padded[: len(content)] = content
    rows = multihost_utils.process_allgather(padded)
    return [json.loads(bytes(row[:size])) for row, size in zip(rows, sizes, strict=True)]


def of_first(own: Any) -> Any:
    """What the first process gives, on all of them."""
    return gathered(own)[0]


def merged(own: np.ndarray) -> np.ndarray:
    """An array of which each process has filled its own rows, and left the others zero → all."""
    if jax.process_count() == 1:
        return own
    whole = np.empty_like(own)
    for start in range(0, len(own), ROWS):  # No process holds all of all processes' at once.
        rows = slice(start, start + ROWS)
        whole[rows] = multihost_utils.process_allgather(own[rows]).max(axis=0)
    return whole


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
