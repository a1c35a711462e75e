"""The command for a GPU, rehearsed at small size; and the batch that fits, against the compiler."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import psutil
import pytest

from aligngap.benchmarks import fitting, gpu_parts, on_gpu


@pytest.mark.system
def test_a_rehearsal(tmp_path):
    """Parts as processes, each written as it ends."""
    output = tmp_path / "found.json"
    call = [sys.executable, "-m", "aligngap.benchmarks.on_gpu", f"--output={output}", "--small"]
    done = subprocess.run(
        [*call, "--parts", "steps", "attention", "deterministic"],
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(output.read_text())
    assert list(found) == ["steps", "attention", "deterministic"]
    assert len(found["steps"]["measured"]) == 2 and not found["steps"]["failed"]
    assert set(found["attention"]) == {
        *("image xla", "image xla error", "text xla", "text xla error", "took")
    }
    assert found["attention"]["text xla error"] < 0.02  # Of bfloat16's 8 bits.
    assert len(found["deterministic"]["digest"]) == 64
    assert "--xla_gpu_deterministic_ops=true" in found["deterministic"]["flags"]


@pytest.mark.parametrize(("again", "word"), [("a", "the same bits"), ("b", "DIFFERENT bits")])
def test_what_parts_say_together(again, word):
    measured = lambda rate: {"measured": [{"images_per_second": rate}]}  # noqa: E731
    found = {"steps": measured(300.0), "open_clip": measured(100.0)}
    found["open_clip_compiled"] = measured(200.0)
    found["plain"] = {"digest": "c", "seconds": 2.0}
    found["deterministic"] = {"digest": "a", "seconds": 3.0}
    found["deterministic_again"] = {"digest": again, "seconds": 3.0}
    best, bits = on_gpu.verdicts(found)
    assert best.startswith("CLIP at 1.50 × ") and "open_clip_compiled" in best
    assert word in bits and bits.endswith("at 1.50 × the time")
    assert on_gpu.verdicts({"steps": measured(1.0), "open_clip": {"error": "no room"}}) == []


@pytest.mark.parametrize(
    ("function", "arguments"),
    [("no_such_part", ()), ("steps", ("clip:no_such_policy:16",))],
    ids=["at once", "while JAX traces"],
)
def test_a_part_that_fails_says_why(function, arguments):
    part = on_gpu.Part(function, arguments, 60)
    found = on_gpu.one(part, 60, small=True)
    assert "KeyError: 'no_such_" in found["error"] and found["took"] > 0


@pytest.mark.skipif(jax.default_backend() == "gpu", reason="there is one")
def test_without_a_gpu_nothing_is_measured(monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    found = on_gpu.one(on_gpu.PARTS["attention"], 60, small=False)
    assert "no GPU" in found["error"] and found.keys() == {"took", "error"}


def _begun(pid: Path) -> int:
    """The process that the other has started, once it has."""
    while not (pid.exists() and pid.read_text().endswith("\n")):
        time.sleep(0.05)
    return int(pid.read_text())


def _wait_until_ended(pid: int) -> None:
    """Whoever it is left to may let it stay a zombie."""
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)


def test_what_a_part_has_started_ends_with_its_time(tmp_path):
    pid = tmp_path / "pid"
    call = ["sh", "-c", f"sleep 1000 & echo $! >{pid}; wait"]
    assert on_gpu._said(call, dict(os.environ), 2) == "2 s were not enough"
    _wait_until_ended(_begun(pid))


@pytest.mark.system
def test_an_interrupted_run_keeps_what_it_has(tmp_path):
    output = tmp_path / "found.json"
    call = [sys.executable, "-m", "aligngap.benchmarks.on_gpu", f"--output={output}", "--small"]
    with subprocess.Popen([*call, "--parts", "attention", "largest", "data"]) as running:
        while not output.exists():
            time.sleep(0.1)
        (part,) = psutil.Process(running.pid).children()
        running.terminate()
        assert running.wait() == 1
    found = json.loads(output.read_text())
    assert list(found) == ["attention", "largest"] and "text xla" in found["attention"]
    assert found["largest"]["error"] == "interrupted"
    _wait_until_ended(part.pid)


def test_the_largest_batch_is_the_largest_that_fits():
    """By what the compiler says of that batch and of the next."""
    made, limit, step = gpu_parts.config(True), 28e6, 64
    made.batch_size = fitting.largest_batch(made, limit, 1024, (64, 256))
    assert made.batch_size % step == 0 and made.batch_size > step
    assert fitting.memory(made) <= limit
    made.batch_size += step
    assert fitting.memory(made) > limit


@pytest.mark.parametrize(
    ("few", "more", "limit", "wanted"),
    [
        (1e9, 3e9, 5e9, 320),
        (1e9, 3e9, 1e8, 0),
        (math.inf, math.inf, 5e9, 0),
        (math.inf, math.inf, math.inf, 0),
        (1e9, math.inf, 5e9, 64),
        (6e9, math.inf, 5e9, 0),
        (1e9, math.inf, math.inf, 64),
        (1e9, 3e9, math.inf, 4096),
    ],
)
def test_what_xla_cannot_compile_does_not_fit(few, more, limit, wanted):
    assert fitting.extrapolated(few, more, limit, 4096) == wanted


@pytest.mark.system
@pytest.mark.parametrize("part", [gpu_parts.losses, gpu_parts.data])
@pytest.mark.corpus
def test_tables_are_kept_line_by_line(part, pictograms_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(pictograms_dir))
    first, *_, last = [len(found["lines"]) for found in part(True)]
    assert first == 1 and last > 4


def test_there_is_a_part_for_each_function():
    assert {part.function for part in on_gpu.PARTS.values()} == gpu_parts.PARTS.keys()
