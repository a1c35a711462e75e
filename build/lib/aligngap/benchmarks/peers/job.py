"""What every reader is asked for, and how its work is timed: the same for all."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tokenizers

from aligngap.benchmarks.peers.asked import Asked


@dataclass(frozen=True)
class Job(Asked):
    """Batches of uint8 [B, S, S, 3] and ids [B, L], of shards of .jpg and .txt in random order."""

    shards: tuple[str, ...]
    folder: str  # Where each reader keeps what it makes of the shards before it can read them.
    batch_size: int
    image_size: int
    context_length: int
    scale: tuple[float, float]  # Share of the area that a random crop keeps,
    ratio: tuple[float, float]  # and its width by height.
    warm: int  # Batches that are not counted.
    batches: int  # Those that are.
    workers: int = 0
    draft: bool = False  # A JPEG is decoded no finer than needed, where a reader has that apart.

    @property
    def tokenizer(self) -> str:
        """The file, of the library `tokenizers`."""
        return str(Path(self.folder) / "tokenizer.json")


class Ids:
    """Captions → int32 [N, L]: started, ended, padded, as aligngap's own are."""

    def __init__(self, job: Job) -> None:
        self._tokenizer = tokenizers.Tokenizer.from_file(job.tokenizer)
        end = self._tokenizer.token_to_id("<|endoftext|>")
        self._tokenizer.enable_truncation(job.context_length)
        self._tokenizer.enable_padding(length=job.context_length, pad_id=end)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        rows = self._tokenizer.encode_batch_fast(list(texts))
        return np.array([row.ids for row in rows], np.int32)


def measure(job: Job, batches: Iterator[tuple[Any, Any]]) -> None:
    """Prints rows, seconds, and seconds of processor time of this process and its workers."""
    for _ in range(job.warm):
        _check(job, *next(batches))
    start, used = time.perf_counter(), _used()
    for _ in range(job.batches):
        next(batches)
    seconds = {"wall": time.perf_counter() - start, "cpu": _used() - used}
    print(json.dumps({"rows": job.batches * job.batch_size} | seconds))


def _check(job: Job, images: Any, ids: Any) -> None:
    """Whether all readers make the same."""
    shape = (job.batch_size, job.image_size, job.image_size, 3)
    assert tuple(images.shape) == shape and "uint8" in str(images.dtype), (images.shape, images)
    assert tuple(ids.shape) == (job.batch_size, job.context_length), ids.shape


def _used() -> float:
    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return float(sum(spent.user + spent.system for spent in times))
