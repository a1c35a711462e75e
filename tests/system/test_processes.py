"""Several processes as one run, started by launch/local_cluster.sh: the same run."""

import os
import signal
from pathlib import Path

import pytest

from workdirs import metrics, saved_steps

LAUNCHER = Path(__file__).parents[2] / "launch" / "local_cluster.sh"
pytestmark = [pytest.mark.system, pytest.mark.corpus]

LONG = {"steps": 60, "evaluated_every": 60, "checkpoint__every_steps": 60}


@pytest.fixture
def cluster(program, start, tmp_path):
    """(processes, **overrides) → the launcher of so many processes, running."""

    def begin(processes, **overrides):
        arguments = program.train_arguments(tmp_path / "run", **overrides)
        command = ["bash", str(LAUNCHER), str(processes), *arguments]
        return start(command, PYTHON=program.command()[0], GRACE="20")

    return begin


@pytest.fixture(scope="module")
def alone(program, tmp_path_factory):
    """The metrics of one process."""
    workdir = tmp_path_factory.mktemp("alone") / "run"
    done = program.train(workdir, **LONG)
    assert done.returncode == 0, done.stderr
    return metrics(workdir)


def same_curve(one, other):
    assert [line["step"] for line in one] == [line["step"] for line in other]
    for a, b in zip(one, other, strict=True):
        for name in (name for name in a if "recall" not in name):
            assert b[name] == pytest.approx(a[name], rel=1e-3, abs=1e-5), (a["step"], name)


def test_two_processes_train_what_one_does(cluster, finished, tmp_path):
    """Where an axis that does not split the batch lies across them; else, see the test below."""
    launcher = cluster(2, mesh__data=1, mesh__tensor=2)
    assert launcher.end() == 0, launcher.said
    same_curve(metrics(finished), metrics(tmp_path / "run"))
    assert len((tmp_path / "run" / "commands.txt").read_text().splitlines()) == 1


PACKED = {"data__pack_captions": True, "mesh__data": -1}


def test_packed_captions_are_the_padded_ones_on_any_processes(cluster, alone, tmp_path):
    """Two processes are stopped, four go on: the curve of one that pads. Where they go on, the
    shapes of the first steps are agreed on anew."""
    launcher = cluster(2, **LONG | PACKED)
    launcher.wait_until(lambda: len(metrics(tmp_path / "run")) >= 3)
    os.kill(launcher.children("aligngap")[-1], signal.SIGTERM)
    assert launcher.end() == 75, launcher.said
    assert "rows of 32 tokens" in launcher.said
    launcher = cluster(4, **LONG | PACKED)
    assert launcher.end() == 0, launcher.said
    same_curve(alone[:20], metrics(tmp_path / "run")[:20])
    assert metrics(tmp_path / "run")[-1]["step"] == 60


def test_a_signal_to_one_process_stops_both_and_any_number_goes_on(cluster, alone, tmp_path):
    """SIGTERM to the second process alone; then one process goes on, is stopped, then four."""
    workdir = tmp_path / "run"
    for processes in (2, 1):
        seen = len(metrics(workdir))
        launcher = cluster(processes, **LONG)
        launcher.wait_until(lambda seen=seen: len(metrics(workdir)) >= seen + 5)
        os.kill(launcher.children("aligngap")[-1], signal.SIGTERM)
        assert launcher.end() == 75, launcher.said
        step = saved_steps(workdir)[-1]
        assert metrics(workdir)[-1]["step"] == step
        assert launcher.said.count(f"step {step} is saved") == processes
    launcher = cluster(4, **LONG | {"mesh__data": 4})
    assert launcher.end() == 0, launcher.said
    same_curve(alone[:20], metrics(workdir)[:20])
    assert [line["step"] for line in metrics(workdir)] == [line["step"] for line in alone]


def test_a_peer_that_dies_ends_the_others(cluster, tmp_path):
    """kill -9 of the second process: the first cannot go on, and says so within two minutes."""
    launcher = cluster(2, **LONG | {"steps": 100_000, "checkpoint__every_steps": 5})
    launcher.wait_until((tmp_path / "run" / "checkpoints" / "5").exists)
    os.kill(launcher.children("aligngap")[-1], signal.SIGKILL)
    assert launcher.end() not in (0, 75)
