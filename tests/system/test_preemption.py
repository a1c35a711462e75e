"""Signals as a scheduler sends them: what is saved, with which code a run ends, how it goes on."""

import contextlib
import os
import signal
import subprocess
import time

import pytest

pytestmark = [pytest.mark.system, pytest.mark.corpus]


def wait_for(path, text, process, seconds=240):
    deadline = time.monotonic() + seconds
    while not (path.exists() and text in path.read_bytes()):
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def started(program, tmp_path):
    """(at, **overrides) → a run in a process of its own, on its way and past the text `at`, its
    workdir, and a function that waits for its end and returns what it said."""
    running = []

    def start(at, **overrides):
        workdir, said = tmp_path / "run", tmp_path / "stderr.txt"
        with said.open("w") as file:  # A pipe would stay open as long as a stopped child does.
            process = subprocess.Popen(
                program.command(*program.train_arguments(workdir, **overrides)),
                env=program.environment(),
                stderr=file,
                start_new_session=True,
            )
        running.append(process)
        wait_for(workdir / "metrics.jsonl", at, process)

        def end():
            process.wait(timeout=120)
            return said.read_text()

        return process, workdir, end

    yield start
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_a_signal_saves_and_the_same_command_goes_on(
    started, finished, program, metrics, final_state
):
    """It comes while the step is compiled; checkpoints by count would come at the end alone."""
    process, workdir, end = started(b'{"step": 0, "validation/', checkpoint__every_steps=100)
    process.send_signal(signal.SIGTERM)
    said = end()
    assert process.returncode == 75, said
    last = said.strip().splitlines()[-1]
    assert last.startswith("aligngap: SIGTERM: step ") and "Traceback" not in said
    step = int(last.split("step ")[1].split()[0])
    assert [path.name for path in (workdir / "checkpoints").iterdir()] == [str(step)]
    trained = [line for line in metrics(workdir) if "train/loss" in line]
    assert trained[-1]["step"] == step < 8
    again = program.train(workdir, checkpoint__every_steps=100)
    assert again.returncode == 0, again.stderr
    assert f"Continuing {workdir} from step {step}" in again.stderr
    assert metrics(workdir) == metrics(finished)
    assert final_state(workdir) == final_state(finished)


def test_stopped_where_an_evaluation_was_due_it_is_made_up_for(started, finished, program, metrics):
    process, workdir, end = started(b'{"step": 0, "validation/', evaluation__every_steps=1)
    process.send_signal(signal.SIGINT)
    said = end()
    assert process.returncode == 75
    assert said.strip().splitlines()[-1].startswith("aligngap: SIGINT: step ")
    again = program.train(workdir, evaluation__every_steps=1)
    assert again.returncode == 0, again.stderr
    evaluated = [line["step"] for line in metrics(workdir) if "train/loss" not in line]
    assert evaluated == list(range(9))


def test_a_second_signal_ends_at_once(started):
    """While the step is compiled: the first is heard, and nothing can be saved yet."""
    process, _, end = started(b'{"step": 0, "validation/')
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
    said = end()
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "a second signal ends at once" in said


def test_a_standstill_is_reported_with_every_thread_and_ended(started):
    """The process that reads the data is stopped by SIGSTOP."""
    process, _, end = started(
        b'{"step": 2, "train/',
        data__workers=1,
        steps=100_000,
        log__every_steps=1,
        evaluation__every_steps=100_000,
        checkpoint__every_steps=100_000,
        watchdog__report_after_s=3,
        watchdog__end_after_s=6,
    )
    workers = subprocess.check_output(["pgrep", "-P", str(process.pid), "-f", "spawn_main"])
    for pid in workers.split():
        os.kill(int(pid), signal.SIGSTOP)
    said = end()
    assert process.returncode == 1, said
    assert "No step for 3 s since step" in said and "No step for 6 s" in said
    assert "loop.py" in said and "Ended by watchdog.end_after_s" in said
