"""Several processes as one run, started by launch/local_cluster.sh: the same run."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).parents[2] / "launch" / "local_cluster.sh"
pytestmark = [pytest.mark.system, pytest.mark.corpus]

LONG = {"steps": 60, "evaluation__every_steps": 60, "checkpoint__every_steps": 60}


@pytest.fixture
def cluster(program, tmp_path):
    """(processes, workdir, **overrides) → the launcher's process, and where it writes."""
    running = []

    def start(processes, workdir, **overrides):
        said = tmp_path / f"stderr_{len(running)}.txt"
        arguments = program.train_arguments(workdir, **overrides)
        with said.open("w") as file:
            launcher = subprocess.Popen(
                ["bash", str(LAUNCHER), str(processes), *arguments],
                env={**program.environment(), "PYTHON": program.command()[0], "GRACE": "20"},
                stderr=file,
                start_new_session=True,
            )
        running.append(launcher)
        return launcher, said

    yield start
    for launcher in running:
        if launcher.poll() is None:
            os.killpg(launcher.pid, signal.SIGKILL)


def same_curve(one, other):
    assert [line["step"] for line in one] == [line["step"] for line in other]
    for a, b in zip(one, other, strict=True):
        for name in (name for name in a if "recall" not in name):
            assert b[name] == pytest.approx(a[name], rel=1e-3, abs=1e-5), (a["step"], name)


def test_two_processes_train_what_one_does(cluster, finished, metrics, tmp_path):
    """Where an axis that does not split the batch lies across them; else, see the test below."""
    launcher, said = cluster(2, tmp_path / "run", mesh__data=1, mesh__tensor=2)
    assert launcher.wait(timeout=280) == 0, said.read_text()
    same_curve(metrics(finished), metrics(tmp_path / "run"))
    assert len((tmp_path / "run" / "commands.txt").read_text().splitlines()) == 1


def test_a_signal_to_one_process_stops_both_and_any_number_goes_on(
    cluster, program, metrics, tmp_path
):
    """SIGTERM to the second process alone; then one process goes on, is stopped, then four."""
    workdir = tmp_path / "run"
    for processes in (2, 1):
        seen = len(metrics(workdir)) if workdir.exists() else 0
        launcher, said = cluster(processes, workdir, **LONG)
        deadline = time.monotonic() + 240
        while not workdir.exists() or len(metrics_or_none(workdir)) < seen + 5:
            assert launcher.poll() is None and time.monotonic() < deadline, said.read_text()
            time.sleep(0.05)
        children = subprocess.check_output(["pgrep", "-P", str(launcher.pid), "-f", "aligngap"])
        os.kill(int(children.split()[-1]), signal.SIGTERM)
        assert launcher.wait(timeout=120) == 75, said.read_text()
        saved = [path.name for path in (workdir / "checkpoints").iterdir()]
        step = max(map(int, saved))
        assert metrics(workdir)[-1]["step"] == step
        said_step = [
            line for line in said.read_text().splitlines() if f"step {step} is saved" in line
        ]
        assert len(said_step) == processes
    launcher, said = cluster(4, workdir, **LONG | {"mesh__data": 4})
    assert launcher.wait(timeout=280) == 0, said.read_text()
    alone = tmp_path / "alone"
    assert program.train(alone, **LONG).returncode == 0
    same_curve(metrics(alone)[:20], metrics(workdir)[:20])
    assert [line["step"] for line in metrics(workdir)] == [line["step"] for line in metrics(alone)]


def metrics_or_none(workdir):
    path = workdir / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def test_a_peer_that_dies_ends_the_others(cluster, tmp_path):
    """kill -9 of the second process: the first cannot go on, and says so within two minutes."""
    workdir = tmp_path / "run"
    launcher, said = cluster(2, workdir, **LONG | {"steps": 100_000, "checkpoint__every_steps": 5})
    deadline = time.monotonic() + 240
    while not (workdir / "checkpoints" / "5").exists():
        assert launcher.poll() is None and time.monotonic() < deadline, said.read_text()
        time.sleep(0.05)
    children = subprocess.check_output(["pgrep", "-P", str(launcher.pid), "-f", "aligngap"])
    os.kill(int(children.split()[-1]), signal.SIGKILL)
    assert launcher.wait(timeout=150) not in (0, 75)
