"""Processes that a launcher starts, of whom nobody tells which is which: SLURM's and Open MPI's."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import slurm_server
import sweeps
from workdirs import final_state, metrics

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "launch" / "slurm.sbatch"
SMALL = ["--nodes=1", "--ntasks-per-node=2", "--gpus-per-node=0", "--cpus-per-task=1"]
pytestmark = [pytest.mark.system, pytest.mark.corpus]


@pytest.fixture(scope="module")
def slurm():
    if reason := slurm_server.missing():
        pytest.skip(reason)
    server = slurm_server.Server()
    yield server
    server.end()


@pytest.fixture
def queue(slurm, program, tmp_path):
    """(flags of sbatch, arguments of train) → the job's number; its folder is tmp_path."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    environment = {**program.environment(), "SLURM_CONF": slurm.environment["SLURM_CONF"]}

    def submit(flags, arguments):
        command = ["sbatch", "--parsable", *SMALL, *flags, SCRIPT, *arguments]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return submit


@pytest.fixture
def jobs(slurm, tmp_path):
    """(number) → of each of its jobs what `scontrol show job` says, by its number in the array."""

    def show(number):
        found = slurm.say("scontrol", "show", "job", number, "--oneliner").splitlines()
        fields = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in found]
        return {each.get("ArrayTaskId", ""): each for each in fields}

    return show


@pytest.fixture
def wait_until(slurm, tmp_path):
    """(reached) → until it is, or fails where all jobs have ended before."""

    def wait(reached):
        deadline = time.monotonic() + 280
        while True:
            over = not slurm.say("squeue", "--noheader")
            if reached():
                return
            assert not over and time.monotonic() < deadline, f"{said(tmp_path)}\n{slurm.log}"
            time.sleep(0.1)

    return wait


def said(folder):
    return "\n".join(path.read_text() for path in sorted(folder.glob("aligngap-*.log")))


def test_an_array_trains_a_sweep_and_a_preempted_job_goes_on(
    queue, jobs, wait_until, slurm, program, tmp_path
):
    """Two points of the same config, two processes each. Every process of one gets SIGTERM, as
    SLURM's own preemption sends it; the job comes back alone, and ends as the other does."""
    points = {"left": {"name": "alike"}, "stopped": {"name": "alike"}}
    file, folder = sweeps.write(tmp_path / "points.py", points), tmp_path / "sweep"
    _, *arguments = sweeps.arguments(program, file, folder, checkpoint__every_steps=100)
    number = queue(["--array=0-1"], arguments)
    wait_until(lambda: metrics(folder / "stopped"))
    slurm.say("scancel", "--signal=TERM", f"{number}_1")
    wait_until(lambda: jobs(number)["1"]["Restarts"] == "1")
    wait_until(
        lambda: {job["JobState"] for job in jobs(number).values()} <= {"COMPLETED", "FAILED"}
    )

    ended = jobs(number)
    assert {job["JobState"] for job in ended.values()} == {"COMPLETED"}, said(tmp_path)
    assert [ended[each]["Restarts"] for each in ("0", "1")] == ["0", "1"]
    log = Path(ended["1"]["StdOut"]).read_text()
    assert log.count("is saved; the same command goes on from there") == 2
    (step,) = set(re.findall(r"SIGTERM: step (\d+) is saved", log))
    assert f"Continuing {folder / 'stopped'} from step {step}" in log
    assert metrics(folder / "stopped") == metrics(folder / "left")
    assert final_state(folder / "stopped") == final_state(folder / "left")


def test_a_launcher_that_does_not_say_where_to_meet_is_refused():
    """Open MPI 5 has none of the variables by which JAX finds the first process."""
    script = "from aligngap.parallel import distributed as d; d.start(None, None, None)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMPI_COMM_WORLD_SIZE": "2"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode and "UsageError: several processes were started" in done.stderr


def test_open_mpi_starts_the_processes_of_a_run(program, finished, tmp_path):
    if not (mpirun := shutil.which("mpirun")):
        pytest.skip("no mpirun here (Debian: apt-get install openmpi-bin)")
    arguments = program.train_arguments(tmp_path / "run", mesh__data=1, mesh__tensor=2)
    done = subprocess.run(
        [
            mpirun,
            "--allow-run-as-root",
            "--oversubscribe",
            "-np",
            "2",
            *program.command(*arguments),
        ],
        env=program.environment(),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "run" / "commands.txt").read_text().splitlines()) == 1
    found, wanted = metrics(tmp_path / "run"), metrics(finished)
    assert [line["step"] for line in found] == [line["step"] for line in wanted]
    losses = [
        [line["train/loss"] for line in each if "train/loss" in line] for each in (found, wanted)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
