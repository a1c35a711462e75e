"""Signals as a scheduler sends them: what is saved, with which code a run ends, how it goes on."""

import os
import signal
import time

import pytest

from workdirs import final_state, metrics, saved_steps

pytestmark = [pytest.mark.system, pytest.mark.corpus]


@pytest.fixture
def started(training, tmp_path):
    """(**overrides) → a run that was evaluated at step 0: now the step is being compiled."""

    def begin(**overrides):
        run = training(**overrides)
        run.wait_until(lambda: metrics(tmp_path / "run"))
        return run

    return begin


def test_a_signal_saves_and_the_same_command_goes_on(started, finished, program, tmp_path):
    """It comes while the step is compiled; checkpoints by count would come at the end alone."""
    run, workdir = started(checkpoint__every_steps=100), tmp_path / "run"
    run.process.send_signal(signal.SIGTERM)
    assert run.end() == 75, run.said
    last = run.said.strip().splitlines()[-1]
    assert last.startswith("aligngap: SIGTERM: step ") and "Traceback" not in run.said
    step = int(last.split("step ")[1].split()[0])
    assert saved_steps(workdir) == [step]
    assert metrics(workdir)[-1]["step"] == step < 8
    again = program.train(workdir, checkpoint__every_steps=100)
    assert again.returncode == 0, again.stderr
    assert f"Continuing {workdir} from step {step}" in again.stderr
    assert metrics(workdir) == metrics(finished)
    assert final_state(workdir) == final_state(finished)


def test_a_second_signal_ends_at_once(started):
    """While the step is compiled: the first is heard, and nothing can be saved yet."""
    run = started()
    for _ in range(2):
        run.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
    assert run.end() == 128 + signal.SIGTERM, run.said
    assert "a second signal ends at once" in run.said


def test_a_standstill_is_reported_with_every_thread_and_ended(training, tmp_path):
    """The process that reads the data is stopped by SIGSTOP."""
    run = training(
        data__workers=1,
        steps=100_000,
        evaluated_every=100_000,
        checkpoint__every_steps=100_000,
        watchdog__report_after_s=3,
        watchdog__end_after_s=6,
    )
    run.wait_until(lambda: len(metrics(tmp_path / "run")) > 3)
    for pid in run.children("spawn_main"):
        os.kill(pid, signal.SIGSTOP)
    assert run.end() == 1, run.said
    assert "No step for 3 s since step" in run.said and "No step for 6 s" in run.said
    assert "loop.py" in run.said and "Ended by watchdog.end_after_s" in run.said
