"""A lock between processes: refused in one line, or waited for."""

import subprocess
import sys

import pytest

from aligngap import lock
from aligngap.errors import AligngapError

HOLDS = """
import pathlib, sys
from aligngap import lock
with lock.alone(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock until its input ends."""
    command = [sys.executable, "-c", HOLDS, str(tmp_path / ".lock")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "held\n"
        yield process


def test_it_is_refused_and_free_again_afterwards(tmp_path, holder):
    with (
        pytest.raises(AligngapError, match="busy"),
        lock.alone(tmp_path / ".lock", refusal="busy"),
    ):
        pass
    holder.communicate("", timeout=60)
    with lock.alone(tmp_path / ".lock", refusal="busy"):
        pass


def test_it_is_waited_for(tmp_path, holder):
    script = HOLDS.replace('print("held", flush=True)', 'print("mine", flush=True)')
    command = [sys.executable, "-c", script, str(tmp_path / ".lock")]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True) as waiting:
        assert "Waiting for another process" in waiting.stderr.readline()
        assert waiting.poll() is None
        holder.communicate("", timeout=60)
        assert waiting.communicate(timeout=60)[0] == "mine\n"
