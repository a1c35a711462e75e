"""kill -9 at random moments, saves included: a run that was killed ends as if it never had been."""

import os
import random
import signal
import time

import pytest

from workdirs import final_state, metrics

pytestmark = [pytest.mark.system, pytest.mark.corpus]

KILLS = int(os.environ.get("ALIGNGAP_KILLS", "6"))
STEPS = 5 * KILLS
# A save after every step: at any moment one is under way.
OVERRIDES = {"steps": STEPS, "checkpoint__every_steps": 1, "evaluated_every": 10}


def last_step(workdir):
    # Read once: a run that goes on before its first save cuts the file back to nothing.
    return max((line["step"] for line in metrics(workdir)), default=-1)


@pytest.mark.timeout(60 * KILLS)
def test_a_run_killed_again_and_again_ends_as_one_left_alone(program, training, tmp_path):
    alone, workdir = tmp_path / "alone", tmp_path / "run"
    done = program.train(alone, **OVERRIDES)
    assert done.returncode == 0, done.stderr
    choose = random.Random(0)
    for at in sorted(choose.sample(range(STEPS - 2), KILLS)):
        run = training(**OVERRIDES)
        run.wait_until(lambda at=at: last_step(workdir) >= at)
        time.sleep(choose.uniform(0, 0.1))
        run.kill()
        assert run.end() == -signal.SIGKILL, run.said
    again = program.train(workdir, **OVERRIDES)
    assert again.returncode == 0, again.stderr
    assert (workdir / "metrics.jsonl").read_bytes() == (alone / "metrics.jsonl").read_bytes()
    assert final_state(workdir) == final_state(alone)
