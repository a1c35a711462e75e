"""How calls are timed, and how several times are said."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax


def calls(function: Callable[[], Any], least: int, lasting: float = 0.0) -> list[float]:
    """Seconds of each of at least so many calls, `lasting` seconds together, after one that does
    not count: it compiles."""
    jax.block_until_ready(function())
    times: list[float] = []
    while len(times) < least or sum(times) < lasting:
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
    return times


def spread(values: Sequence[float], form: str) -> str:
    """Median (least to most)."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"
