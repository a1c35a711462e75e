"""kill -9 at random moments, saves included: a run that was killed ends as if it never had been."""

import os
import random
import signal
import subprocess
import time

import pytest

pytestmark = [pytest.mark.system, pytest.mark.corpus]

KILLS = int(os.environ.get("ALIGNGAP_KILLS", "10"))
STEPS = 5 * KILLS
# A save after every step: at any moment one is under way.
OVERRIDES = {"steps": STEPS, "checkpoint__every_steps": 1, "evaluation__every_steps": 10}


def last_step(workdir):
    path = workdir / "metrics.jsonl"
    return path.read_bytes().count(b"train/loss") if path.exists() else 0


def killed(program, workdir, at, delay):
    """Starts the run and kills it `delay` seconds after step `at` was written."""
    process = subprocess.Popen(
        program.command(*program.train_arguments(workdir, **OVERRIDES)),
        env=program.environment(),
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    deadline = time.monotonic() + 240
    while last_step(workdir) < at and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert process.poll() is None, process.stderr.read()
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    process.stderr.close()
    assert process.wait() == -signal.SIGKILL


@pytest.mark.timeout(60 * KILLS)
def test_a_run_killed_again_and_again_ends_as_one_left_alone(
    program, metrics, final_state, tmp_path
):
    alone = tmp_path / "alone"
    done = program.train(alone, **OVERRIDES)
    assert done.returncode == 0, done.stderr
    choose, workdir = random.Random(0), tmp_path / "killed"
    for at in sorted(choose.sample(range(STEPS - 2), KILLS)):
        killed(program, workdir, at, choose.uniform(0, 0.1))
    again = program.train(workdir, **OVERRIDES)
    assert again.returncode == 0, again.stderr
    assert (workdir / "metrics.jsonl").read_bytes() == (alone / "metrics.jsonl").read_bytes()
    assert final_state(workdir) == final_state(alone)
