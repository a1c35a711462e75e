"""`aligngap bench readers`: images a second from tar shards to batches, beside other libraries.

Each reader is a process of its own on one core of this machine, reads the same JPEGs with captions
in a random order, and makes the same arrays; which work each does is said in benchmarks/peers/.
They take turns, several rounds long, so that what else the machine does befalls all of them. Time
on the core's clock and time that the core worked for the reader are both given: the second is
nearly the same on a busy machine. First batches are not counted.

The others need packages of their own: `bash launch/peers.sh` makes .venv-peers.
"""

import argparse
import contextlib
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aligngap import progress
from aligngap.benchmarks import peers, timing
from aligngap.benchmarks.peers import shards
from aligngap.benchmarks.peers.job import Job
from aligngap.config import CLIP_VOCABULARY, data_dir
from aligngap.data import images, store
from aligngap.data.corpora.prepared import Prepared
from aligngap.data.sources.machines import ThisMachine
from aligngap.data.sources.prepare import Request, prepare
from aligngap.data.sources.raw import Columns, Rules
from aligngap.data.sources.splitting import Splitting
from aligngap.data.tokenizers.bpe import Trained
from aligngap.errors import AligngapError, UsageError
from aligngap.flags import positive

BATCH, CONTEXT = 64, 77
SCALE, RATIO = (0.9, 1.0), (3 / 4, 4 / 3)  # open_clip's, and this package's default.
WARM = 4  # Batches: buffers are full then, and worker processes have started.
LONGEST = 1800  # Seconds of one reader in one round.
COLUMNS = "{:<22} {:>20} {:>20} {:>20} {:>20}"


class Reader(NamedTuple):
    """What is measured: a program of benchmarks/peers/ and how it is to work."""

    name: str
    program: str
    workers: int = 0
    draft: bool = False


OURS = (Reader("aligngap, threads", "ours"), Reader("aligngap, 1 worker", "ours", 1))
PEERS = (
    Reader("webdataset", "torch_webdataset"),
    Reader("webdataset, 1 worker", "torch_webdataset", 1),
    Reader("webdataset, drafted", "torch_webdataset", draft=True),
    Reader("tf.data", "tf_data"),
)


class Took(NamedTuple):
    """What one reader did in one round."""

    rows: int
    wall: float  # Seconds.
    cpu: float


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which shards, how much of them, and where the others' packages are."""
    parser.add_argument("--shards", help="a folder of *.tar with .jpg and .txt; default: made here")
    parser.add_argument("--data_dir", default="", help="where; default ~/tensorflow_datasets")
    parser.add_argument("--image_size", type=positive, default=224, help="pixels a side")
    parser.add_argument("--images", type=positive, default=1024, help="of a reader in a round")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument(
        "--python", default=".venv-peers/bin/python", help="which has webdataset and tensorflow"
    )


def run(arguments: argparse.Namespace) -> None:
    """Prints the table."""
    folder = data_dir(arguments.data_dir)
    given = Path(arguments.shards).absolute() if arguments.shards else shards.made(folder)
    found = sorted(map(str, given.glob("*.tar")))
    if not found:
        raise UsageError(f"--shards={given}: expected a folder of .tar files")
    job = _job(found, folder, arguments.image_size, arguments.images)
    pythons = dict.fromkeys(OURS, sys.executable)
    if Path(arguments.python).exists():
        pythons |= dict.fromkeys(PEERS, arguments.python)
    for line in table(job, pythons, arguments.rounds):
        print(line, flush=True)
    if len(pythons) == len(OURS):
        print(f"Only aligngap: there is no {arguments.python} (bash launch/peers.sh makes it)")


def _job(found: Sequence[str], folder: Path, size: int, count: int) -> Job:
    """What all are asked for; what was made of other shards lies in another folder."""
    stamps = repr([(path, store.stamp(path)) for path in found])
    name = f"made-{hashlib.sha256(stamps.encode()).hexdigest()[:12]}"
    made = str(folder / "bench-readers" / name)
    batches = max(count // BATCH, 2)
    return Job(tuple(found), made, BATCH, size, CONTEXT, SCALE, RATIO, WARM, batches)


def table(job: Job, pythons: dict[Reader, str], rounds: int) -> Iterator[str]:
    """The table's lines."""
    yield _prepared(job)
    yield (
        f"To uint8 [{job.batch_size}, {job.image_size}, {job.image_size}, 3] and ids "
        f"[{job.batch_size}, {job.context_length}], crops of {job.scale[0]:.0%} to "
        f"{job.scale[1]:.0%} of the area; each reader on one core, {_several(rounds, 'round')} of "
        f"{job.batches * job.batch_size:,} images in turn: median (least to most)"
    )
    took: dict[Reader, list[Took]] = {reader: [] for reader in pythons}
    with progress.Bar("Reading", rounds * len(pythons), "turns") as bar:
        for _ in range(rounds):
            for reader, python in pythons.items():
                took[reader].append(turn(reader, python, job))
                bar.advance()
    yield COLUMNS.format(
        "reader", "images/s a core", "images a CPU second", "aligngap is faster", "by CPU time"
    )
    ours = took[OURS[0]]
    for reader, own in took.items():
        pairs = list(zip(ours, own, strict=True))
        yield COLUMNS.format(
            reader.name,
            timing.spread([it.rows / it.wall for it in own], ",.0f"),
            timing.spread([it.rows / it.cpu for it in own], ",.0f"),
            timing.spread([it.wall / us.wall for us, it in pairs], ".2f"),
            timing.spread([it.cpu / us.cpu for us, it in pairs], ".2f"),
        )


def _prepared(job: Job) -> str:
    """Makes what reading takes, once: our index and a tokenizer. Says what the shards hold."""
    folder = Path(job.folder)
    shards_in, none_held_out = str(Path(job.shards[0]).parent), Splitting(0.0, 0.0)
    request = Request("pairs", {"": shards_in}, Columns(), Rules(), none_held_out)
    prepare(request, folder, ThisMachine(os.cpu_count() or 1))
    source = Prepared(folder, "pairs").open("train")
    records = [source[row] for row in range(len(source))]
    if not Path(job.tokenizer).exists():
        captions = [text for record in records for text in record.captions]
        Trained.make(captions, CLIP_VOCABULARY, folder).save(folder)
    sizes = np.array([images.header(record.image).size for record in records])
    width, height = np.median(sizes, 0)
    weight = statistics.median(len(record.image) for record in records) / 1000
    return (
        f"{len(records):,} images in {_several(len(job.shards), 'shard')}, "
        f"{width:.0f} × {height:.0f} px and {weight:.0f} KB at the median"
    )


def turn(reader: Reader, python: str, job: Job) -> Took:
    """Its figures of one round; AligngapError, with its last words, where it fails."""
    own = replace(job, workers=reader.workers, draft=reader.draft)
    program = f"aligngap.benchmarks.peers.{reader.program}"
    quiet = {"TOKENIZERS_PARALLELISM": "false", "JAX_PLATFORMS": "cpu"}
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file, _one_core():
        file.write(own.text())
        file.flush()
        done = subprocess.run(
            [python, "-m", program, file.name],
            env=peers.environment(quiet),
            capture_output=True,
            text=True,
            timeout=LONGEST,
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise AligngapError(f"{reader.name} failed ({python} -m {program}): {last}")
    return Took(**json.loads(done.stdout.splitlines()[-1]))


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    """Programs that this thread starts, and theirs, run on one core only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _several(count: int, what: str) -> str:
    return f"{count} {what}" + ("s" if count > 1 else "")
