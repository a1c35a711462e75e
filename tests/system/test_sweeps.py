"""`aligngap train --sweep`: stopped, begun again, a point that fails, processes that share it."""

import json
import os
import signal

import pytest

from aligngap import cli, lock
from aligngap.runs import sweep as sweeps_of

import sweeps
from programs import Program
from workdirs import final_state, metrics, saved_steps

pytestmark = [pytest.mark.system, pytest.mark.corpus]

POINTS = {"plain": {"seed": 0}, "wild": {"optimizer.peak_lr": 1e38}, "other": {"seed": 1}}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "sweep"


@pytest.fixture
def command(program, tmp_path, folder):
    """(POINT or nothing) → `train --sweep` of the three points in `folder`."""
    file = sweeps.write(tmp_path / "points.py", POINTS)

    def words(*further, points=POINTS, **overrides):
        sweeps.write(file, points)
        return sweeps.arguments(program, file, folder, *further, **overrides)

    return words


def test_a_sweep_is_stopped_goes_on_and_says_what_failed(
    command, program, start, finished, folder, capsys
):
    """SIGTERM to the sweep and, as a scheduler may, to its point's process too, which is no second
    one; two of three points then end, and one diverges. Of these, nothing is done again."""
    running = start(program.command(*command("--sweep")))
    running.wait_until(lambda: metrics(folder / "plain"))
    running.process.send_signal(signal.SIGTERM)
    running.wait_until(lambda: "SIGUSR1: saving after this step" in running.said)
    os.kill(running.children("aligngap")[0], signal.SIGTERM)
    assert running.end() == 75, running.said
    assert "stopped at plain;" in running.said.splitlines()[-1]
    step = saved_steps(folder / "plain")[-1]
    assert step < 8 and metrics(folder / "plain")[-1]["step"] == step

    again = program.run(*command("--sweep"))
    assert again.returncode == 1, again.stderr
    assert f"Continuing {folder / 'plain'} from step {step}" in again.stderr
    assert "wild failed (exit code 1); the others go on" in again.stderr
    assert "aligngap: 1 of 3 failed: wild" in again.stderr.splitlines()[-1]
    assert metrics(folder / "plain") == metrics(finished)
    assert final_state(folder / "plain") == final_state(finished)
    assert metrics(folder / "other")[-1]["step"] == 8

    assert sweeps_of.workdirs(folder) == [folder / name for name in POINTS]
    assert cli.main(command("--sweep", "--dry_run")) == 0
    said = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert said[0] == "0 plain finished seed=0" and said[2] == "2 other finished seed=1"
    assert said[1].startswith("1 wild nothing saved optimizer.peak_lr=1e+38")

    with lock.alone(folder / ".wild.lock", "nobody else"):
        shared = program.run(*command("--sweep"))
    assert shared.returncode == 0, shared.stderr
    assert shared.stderr.splitlines() == ["In other processes' hands: wild"]


TWO_CORES = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
SEEDS = {"plain": {"seed": 0}, "other": {"seed": 1}, "third": {"seed": 2}}


@TWO_CORES
def test_two_points_at_once_are_stopped_each_on_its_cores(command, program, start, folder):
    """Neither would end by itself, so that the third does not begin."""
    endless = {"steps": 100_000, "evaluated_every": 100_000, "checkpoint__every_steps": 100_000}
    running = start(program.command(*command("--sweep", "--at_once", "2", points=SEEDS, **endless)))
    running.wait_until(lambda: metrics(folder / "plain") and metrics(folder / "other"))
    cores = [os.sched_getaffinity(pid) for pid in running.children("aligngap")]
    assert len(cores) == 2 and not cores[0] & cores[1]
    assert len(cores[0]) == len(cores[1]) == len(os.sched_getaffinity(0)) // 2
    running.process.send_signal(signal.SIGTERM)
    assert running.end() == 75, running.said
    assert "stopped at " in running.said.splitlines()[-1]
    for name in ("plain", "other"):
        assert f"{name}: SIGUSR1: saving after this step" in running.said
        assert metrics(folder / name)[-1]["step"] == saved_steps(folder / name)[-1]
    assert not (folder / "third").exists()


@TWO_CORES
def test_all_points_are_trained_and_evaluated_two_at_once(command, program, folder):
    done = program.run(*command("--sweep", "--at_once=2", points=SEEDS, evaluated_every=0))
    assert done.returncode == 0, done.stderr
    assert [metrics(folder / name)[-1]["step"] for name in SEEDS] == [8, 8, 8]
    assert "third: Training alignclip: 256/256" in done.stderr
    evaluated_once(program, folder, [*SEEDS])


def evaluated_once(program, folder, names):
    """`evaluate` of the sweep: two points that are not evaluated, one that is, one unfinished."""
    done = program.run("evaluate", f"--workdir={folder / names[0]}")
    assert done.returncode == 0, done.stderr
    before = (folder / names[0] / "evaluation.json").stat().st_mtime_ns
    (folder / "sweep.json").write_text(json.dumps({"points": {key: {} for key in [*names, "new"]}}))
    words = ("evaluate", f"--workdir={folder}", "--at_once", "2")
    done = program.run(*words)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "Left out, not begun: new"
    found = [json.loads((folder / n / "evaluation.json").read_text()) for n in names]
    assert [x["step"] for x in found] == [8, 8, 8]
    assert (folder / names[0] / "evaluation.json").stat().st_mtime_ns == before
    again = program.run(*words)
    assert (again.returncode, again.stdout) == (0, "")
    assert again.stderr.splitlines() == ["Left out, not begun: new"]
    # By other evaluators it is to be done again: each fails, and says why.
    none = program.run(*words, "--config.evaluators.gap.final=nowhere")
    assert none.returncode == 1
    assert f"{names[2]} failed (exit code 2); the others go on" in none.stderr
    assert none.stderr.splitlines()[-1].startswith("aligngap: 3 of 3 failed: ")


def test_points_at_once_that_cannot_be(command, folder, capsys):
    assert cli.main(command("--sweep", "--at_once=4096")) == 2
    assert "--at_once=4096: there are" in capsys.readouterr().err
    assert cli.main(command("--sweep=plain", "--at_once", "2")) == 2
    assert "--at_once=2 goes with --sweep, without a point" in capsys.readouterr().err
    assert cli.main(command("--sweep", "--at_once=0")) == 2
    assert "'0' is no whole number of at least 1" in capsys.readouterr().err
    assert not any((folder / name).exists() for name in POINTS)


def test_another_sweep_in_the_folder_is_refused(command, copied, folder, capsys):
    """Before anything is trained: one point's folder holds another seed's run."""
    folder.mkdir()
    copied.rename(folder / "plain")
    changed = {"new": {"seed": 2}, "plain": {"seed": 3}}
    assert cli.main(command("--sweep", points=changed)) == 2
    said = capsys.readouterr().err
    assert f"workdir {folder / 'plain'} holds another config's run: seed" in said
    assert {path.name for path in folder.iterdir()} == {"plain"}


def test_another_sweeps_point_leaves_the_list_of_points(command, copied, folder, capsys):
    folder.mkdir()
    copied.rename(folder / "plain")
    (folder / "sweep.json").write_text('{"points": {"plain": {"seed": 0}}}')
    changed = {"new": {"seed": 2}, "plain": {"seed": 3}}
    assert cli.main(command("--sweep=plain", points=changed)) == 2
    assert "holds another config's run: seed" in capsys.readouterr().err
    assert json.loads((folder / "sweep.json").read_text()) == {"points": {"plain": {"seed": 0}}}


STOPPING = """
import os
import signal
from pathlib import Path

from aligngap.config import evaluator
from aligngap.evaluation.evaluator import Evaluator
from configs.quickstart import get_config as quickstart


class Stopping(Evaluator):
    def __call__(self, params):
        if not Path({flag!r}).exists():
            Path({flag!r}).touch()
            os.kill(os.getpid(), signal.SIGINT)
        yield "one", 1.0


def get_config(preset):
    config = quickstart(preset)
    config.evaluators.stopping = evaluator(
        "stopping.Stopping", every_steps=6, first=False, final=""
    )
    return config


def sweep():
    return {{"one": {{}}}}
"""


def test_a_point_stopped_at_its_last_step_is_finished_once_it_is_measured(
    pictograms_dir, tmp_path, folder, capsys
):
    """A signal during the evaluation of step 6 is obeyed after step 8, where one is due: it is made
    up for, and once."""
    file = tmp_path / "stopping.py"
    file.write_text(STOPPING.format(flag=str(tmp_path / "flag")))
    program = Program(pictograms_dir, also=tmp_path)
    words = sweeps.arguments(program, file, folder, "--sweep", evaluated_every=0)

    def stands():
        assert cli.main([*words, "--dry_run"]) == 0
        return " ".join(capsys.readouterr().out.split())

    stopped = program.run(*words)
    assert stopped.returncode == 75, stopped.stderr
    assert "SIGINT: step 8 is saved" in stopped.stderr
    assert stands() == "0 one 7 of 8"
    again = program.run(*words)
    assert again.returncode == 0, again.stderr
    assert stands() == "0 one finished"
    measured = [line["step"] for line in metrics(folder / "one") if "train/loss" not in line]
    assert measured == [6, 8]
    done = program.run(*words)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("variable", ["SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"])
def test_several_processes_are_asked_for_a_point(command, folder, monkeypatch, capsys, variable):
    monkeypatch.setenv(variable, "2")
    assert cli.main(command("--sweep")) == 2
    assert "--sweep=POINT" in capsys.readouterr().err
    assert not folder.exists()
