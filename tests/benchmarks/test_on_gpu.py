"""The command for a GPU, rehearsed at small size; and the batch that fits, against the compiler."""

import json
import subprocess
import sys

import pytest

from aligngap.benchmarks import fitting, gpu_parts, on_gpu


@pytest.mark.system
def test_a_rehearsal(tmp_path):
    """Two parts as processes, and one that fails without stopping the others."""
    output = tmp_path / "found.json"
    call = [sys.executable, "-m", "aligngap.benchmarks.on_gpu", f"--output={output}", "--small"]
    parts = ["--parts", "plain", "deterministic", "deterministic_again", "attention"]
    done = subprocess.run([*call, *parts], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(output.read_text())
    assert list(found) == parts[1:]
    assert found["plain"]["digest"] == found["deterministic_again"]["digest"]
    assert "two runs end with the same bits" in done.stdout.splitlines()[-1]
    assert set(found["attention"]) == {"image xla", "text xla", "took"}


def test_a_part_that_fails_says_why_and_keeps_what_it_found():
    part = on_gpu.Part("no_such_part", (), 60)
    found = on_gpu.one(part, 60, small=True)
    assert "no_such_part" in found["error"] and found["took"] > 0


@pytest.mark.parametrize("name", ["clip", "alignclip"])
def test_the_largest_batch_fits_and_is_measured(name):
    *_, found = gpu_parts.largest(True, name)
    made = gpu_parts.config(True, name)
    for policy in fitting.policies():
        if str(policy) not in found["largest_batch"]:
            break
        made.model.remat, made.batch_size = policy, found["largest_batch"][str(policy)]
        assert made.batch_size % 32 == 0
        if 0 < made.batch_size < 128:
            assert fitting.memory(made) <= 60e6
            made.batch_size += 32
            assert fitting.memory(made) > 60e6
    assert all(one["images_per_second"] > 0 for one in found["measured"])


@pytest.mark.system
@pytest.mark.parametrize("part", [gpu_parts.losses, gpu_parts.data])
@pytest.mark.corpus
def test_tables_are_kept_line_by_line(part, pictograms_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(pictograms_dir))
    first, *_, last = [len(found["lines"]) for found in part(True)]
    assert first == 1 and last > 4


def test_the_parts_fit_into_the_time():
    assert sum(part.seconds for part in on_gpu.PARTS.values()) <= 600
    assert {part.function for part in on_gpu.PARTS.values()} == gpu_parts.PARTS.keys()
