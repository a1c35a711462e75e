"""100 million records: what a process holds in memory does not know of them."""

import json
import subprocess
import sys
from pathlib import Path

from aligngap.data.sources import index
from aligngap.data.sources.splitting import LARGEST, Splitting

from forms import shards

RECORDS, IMAGES = 100_000_000, 5_000


def test_memory_is_small_and_flat(pairs, make, tmp_path):
    make(shards(pairs, tmp_path / "tars"))
    program = Path(__file__).with_name("in_scale.py")
    numbers = ["mine", str(RECORDS), str(IMAGES)]
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "data"), *numbers],
        capture_output=True,
        text=True,
    )
    (tmp_path / "data" / "mine" / "train.index").unlink()
    assert done.returncode == 0, done.stderr
    memory = json.loads(done.stdout)["memory"]  # MiB
    assert max(memory) < 1024
    assert max(memory) - min(memory) < 16


def test_a_record_takes_at_most_32_bytes():
    assert index.RECORD.itemsize <= 32


def test_of_many_records_no_more_are_held_out_than_evaluation_can_compare():
    assert Splitting().shares(1_000) == [0.05, 0.05]
    assert [share * 10**8 for share in Splitting(0.2).shares(10**8)] == [2 * 10**7, LARGEST]
