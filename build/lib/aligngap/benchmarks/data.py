"""`aligngap bench data`: how many images a second become rows of batches, and what limits that.

Each stage by itself in one thread, as a row of a batch goes through them; then the whole pipeline
with each number of worker processes, the first batch not counted. The images are those of the
training split, in an order of their own so that reading is at random; a corpus that was just read
lies in the system's cache. The tokenizer is one learnt from the captions that are measured.
"""

import argparse
import contextlib
import os
import time
from collections.abc import Iterator

import numpy as np
from ml_collections import ConfigDict

from aligngap import devices
from aligngap.data import corpora, crops, images, pipeline, records, tokenizers
from aligngap.data.records import Source
from aligngap.data.tokenizers.tokenizer import Tokenizer
from aligngap.errors import AligngapError, UsageError
from aligngap.flags import positive
from aligngap.presets import preset, set_size
from aligngap.training import dry_run

UTILISATION = 0.5  # Of a device's peak that training reaches: an assumption, said in the line.
DTYPE = "bfloat16"
STAGES = ("read", "decode", "crop", "tokenise", "batch")
BATCH = 64
COLUMNS = "{:<12} {:>10} {:>16} {:>7}"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which corpus, how many of its images, for which model and device."""
    parser.add_argument("--corpus", default="pictograms", help="its training split")
    parser.add_argument("--data_dir", default="", help="where; default ~/tensorflow_datasets")
    parser.add_argument("--image_size", type=positive, default=224, help="pixels a side")
    parser.add_argument("--images", type=positive, default=1024, help="how many are measured")
    parser.add_argument(
        "--workers",
        type=int,
        nargs="+",
        default=[*range(_cores() + 1)],
        help="numbers of worker processes; 0: threads (default: 0 to the cores)",
    )
    parser.add_argument("--model", default="B/16", help="size of both towers, as in B/16")
    parser.add_argument("--device", default="h100", choices=devices.KINDS)


def run(arguments: argparse.Namespace) -> None:
    """Prints the table."""
    if min(arguments.workers) < 0:
        raise UsageError(f"--workers={min(arguments.workers)}: expected numbers of at least 0")
    config = preset("clip")
    config.data.corpus, config.data.data_dir = arguments.corpus, arguments.data_dir
    config.batch_size, config.compute_dtype = BATCH, DTYPE
    set_size(config, arguments.model)
    config.model.image.size = arguments.image_size
    for line in table(config, arguments.images, arguments.workers, arguments.device):
        print(line, flush=True)


def table(config: ConfigDict, count: int, workers: list[int], device: str) -> Iterator[str]:
    """The table's lines, each as soon as it is measured."""
    source, size = corpora.open_train(config), config.model.image.size
    order = np.random.default_rng(0).permutation(len(source))[:count].tolist()
    if not order:
        raise AligngapError(f"{config.data.corpus} has no record to train on")
    texts = [text for row in order for text in source[row].captions]
    tokenizer = tokenizers.make(config, texts)
    yield (
        f"{config.data.corpus}: {len(order):,} of {len(source):,} records, {size} px, "
        f"{_cores()} cores"
    )
    yield COLUMNS.format("stage", "µs a row", "images/s a core", "share")
    took = stages(config, source, tokenizer, order)
    whole = sum(took.values())
    for name in STAGES:
        share = f"{took[name] / whole:.0%}"
        yield COLUMNS.format(name, f"{1e6 * took[name]:.1f}", f"{1 / took[name]:,.0f}", share)
    yield COLUMNS.format("all of them", f"{1e6 * whole:.1f}", f"{1 / whole:,.0f}", "100%")
    for number in workers:
        rate = end_to_end(config, source, tokenizer, len(order), number)
        name = f"{number} worker{'s' if number > 1 else ''}" if number else "threads"
        yield COLUMNS.format(name, f"{1e6 / rate:.1f}", f"{rate:,.0f} in all", "")
    slowest = max(took, key=took.__getitem__)
    yield f"Bottleneck: {slowest}, {took[slowest] / whole:.0%} of the work of a row"
    yield _needed(config, device, 1 / whole)


def stages(
    config: ConfigDict, source: Source, tokenizer: Tokenizer, order: list[int]
) -> dict[str, float]:
    """Seconds a row by stage, in one thread. Records that cannot be used are passed over."""
    took, rng, rows = dict.fromkeys(STAGES, 0.0), np.random.default_rng(0), 0
    for first in range(0, len(order), BATCH):
        made = []
        for row in order[first : first + BATCH]:
            with contextlib.suppress(AligngapError):
                made.append(_row(config, source, tokenizer, row, rng, took))
        with _clock(took, "batch"):
            for column in zip(*made, strict=True):
                np.stack(column)
        rows += len(made)
    if not rows:
        raise AligngapError(f"no record of {config.data.corpus} that was measured can be used")
    return {name: seconds / rows for name, seconds in took.items()}


def _row(
    config: ConfigDict,
    source: Source,
    tokenizer: Tokenizer,
    row: int,
    rng: np.random.Generator,
    took: dict[str, float],
) -> tuple[np.ndarray, np.ndarray]:
    """As `data.example` makes it: pixels and ids."""
    data, size = config.data, config.model.image.size
    with _clock(took, "read"):
        record = source[row]
    with _clock(took, "decode"), images.telling(str(row)):
        image = crops.opened(record.image)
        decoded, box = crops.part(image, size, data.crop_scale, data.crop_ratio, rng)
    with _clock(took, "crop"):
        pixels = crops.resized(decoded, box, size)
    with _clock(took, "tokenise"):
        caption, _ = records.sample_caption(record, data, rng)
        ids = tokenizer.encode([caption], config.model.text.context_length)[0]
    return pixels, ids


@contextlib.contextmanager
def _clock(took: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    took[stage] += time.perf_counter() - start


def end_to_end(
    config: ConfigDict, source: Source, tokenizer: Tokenizer, rows: int, workers: int
) -> float:
    """Images a second of the pipeline, once its first batches are there."""
    config = config.copy_and_resolve_references()
    config.data.workers = workers
    batches = pipeline.batches(config, source, tokenizer)
    for _ in range(1 + 2 * workers):  # Those that were made while the processes started.
        next(batches)
    count = max(rows // config.batch_size, 2)
    start = time.perf_counter()
    for _ in range(count):
        next(batches)
    return count * config.batch_size / (time.perf_counter() - start)


def _needed(config: ConfigDict, device: str, a_core: float) -> str:
    """How many cores keep a device busy with this model."""
    work = dry_run.flop_a_pair(config)
    pairs = UTILISATION * devices.KINDS[device].peak[DTYPE] / work
    return (
        f"One {device} takes {pairs:,.0f} pairs/s ({work / 1e9:.1f} GFLOP a pair, "
        f"{UTILISATION:.0%} of its peak in {DTYPE} assumed): {pairs / a_core:.1f} such cores"
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0))
