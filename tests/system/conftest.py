"""What tests of whole programs share: how one is started, and a run that was left alone."""

import shutil
import subprocess
from pathlib import Path

import pytest

from programs import Program, Running


@pytest.fixture(scope="session")
def program(pictograms_dir) -> Program:
    return Program(pictograms_dir)


@pytest.fixture
def start(program, tmp_path):
    """(command) → that command, running; killed when the test ends."""
    running = []

    def begin(command, **environment) -> Running:
        said = tmp_path / f"stderr_{len(running)}.txt"
        running.append(Running(command, {**program.environment(), **environment}, said))
        return running[-1]

    yield begin
    for each in running:
        each.kill()


@pytest.fixture
def training(program, start, tmp_path):
    """(**overrides) → a run under way in the workdir `run`."""

    def begin(**overrides) -> Running:
        return start(program.command(*program.train_arguments(tmp_path / "run", **overrides)))

    return begin


@pytest.fixture(scope="session")
def finished(program, tmp_path_factory) -> Path:
    """The workdir of a run that was never disturbed."""
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    done = program.train(workdir)
    assert done.returncode == 0, done.stderr
    return workdir


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    """A copy of that run, to be damaged."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture(scope="session")
def evaluated(program, finished) -> subprocess.CompletedProcess:
    """What `aligngap evaluate` of that run said; its files are in `finished`."""
    done = program.run("evaluate", f"--workdir={finished}")
    assert done.returncode == 0, done.stderr
    return done
