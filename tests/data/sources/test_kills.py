"""`aligngap prepare --source` killed again and again ends with the bytes of one left alone."""

import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from forms import Pair, shards, table

KILLS = 5


@pytest.fixture(scope="module")
def many(pairs) -> list[Pair]:
    """1,500 images: enough work to be killed in."""
    return [
        pair._replace(name=f"{n:02d}{pair.name}", captions=[f"{n} {c}" for c in pair.captions])
        for n in range(5)
        for pair in pairs
    ]


def command(given: Path, data: Path, *more: str) -> list[str]:
    flags = [f"--source={given}", "--name=mine", f"--data_dir={data}", "--workers=2", *more]
    return [sys.executable, "-m", "aligngap.cli", "prepare", *flags]


def contents(folder: Path) -> dict[str, str]:
    """Every file below by its name, and its SHA-256."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def killed(arguments: list[str], data: Path, after: float) -> bool:
    """Whether it was still running so long after it began to write; its workers end with it."""
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    while process.poll() is None and not (data / ".mine.preparing" / "asked.json").exists():
        time.sleep(0.01)
    time.sleep(after)
    workers = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    running = process.poll() is None
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    return running


@pytest.mark.parametrize("more", [[], ["--convert", "--resize=48"]], ids=["indexed", "converted"])
@pytest.mark.parametrize("write", [table, shards])
def test_killed_at_random_moments(write, more, many, tmp_path):
    given = write(many, tmp_path / "given")
    if write is shards:
        given = given.parent
    data = tmp_path / "data"  # The page names it: so it is the same for both.
    start = time.monotonic()
    alone = subprocess.run(command(given, data, *more), capture_output=True)
    seconds = time.monotonic() - start
    assert alone.returncode == 0, alone.stderr
    wanted = contents(data)
    shutil.rmtree(data)
    random, interrupted = np.random.default_rng(0), 0
    for _ in range(KILLS):
        after = random.uniform(0.0, 0.3) * seconds
        interrupted += killed(command(given, data, *more), data, after)
    done = subprocess.run(command(given, data, *more), capture_output=True)
    assert done.returncode == 0, done.stderr
    assert interrupted
    assert contents(data) == wanted
