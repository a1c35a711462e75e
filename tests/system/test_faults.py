"""What a run does about a damaged checkpoint, a full disk, and processes that die under it."""

import os
import resource
import signal
import subprocess

import pytest

from workdirs import final_state, flip_a_bit, largest_file, metrics, truncate

pytestmark = [pytest.mark.system, pytest.mark.corpus]


@pytest.mark.parametrize("damage", [flip_a_bit, truncate])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(copied, finished, program, damage):
    kept = copied / "checkpoints"
    damage(largest_file(kept / "8"))
    again = program.train(copied)
    assert again.returncode == 0, again.stderr
    assert f"WARNING: checkpoint {kept / '8'} is damaged" in again.stderr
    assert f"Continuing {copied} from step 6" in again.stderr
    assert {path.name for path in kept.iterdir()} == {"4", "6", "8", "damaged_8"}
    assert metrics(copied) == metrics(finished)
    assert final_state(copied) == final_state(finished)


def test_a_damaged_model_is_not_evaluated(copied, program):
    """Every kilobyte of the newest checkpoint's arrays has a flipped bit."""
    path = largest_file(copied / "checkpoints" / "8")
    content = bytearray(path.read_bytes())
    for place in range(0, len(content), 1024):
        content[place] ^= 1
    path.write_bytes(content)
    refused = program.run("evaluate", f"--workdir={copied}")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1 and "checkpoints/8 is damaged" in refused.stderr


def test_where_every_checkpoint_is_damaged_nothing_is_begun_anew(copied, program):
    for folder in (copied / "checkpoints").iterdir():
        flip_a_bit(largest_file(folder))
    before = sorted(path.name for path in (copied / "checkpoints").iterdir())
    refused = program.train(copied)
    assert refused.returncode == 1
    assert "none of the checkpoints" in refused.stderr.strip().splitlines()[-1]
    assert sorted(path.name for path in (copied / "checkpoints").iterdir()) == before
    assert metrics(copied)[-1]["step"] == 8


@pytest.fixture(params=["tmpfs", "file size limit"])
def little_room(request, tmp_path):
    """(folder, what limits a child process): there is room for some checkpoints, or for none."""
    if request.param == "file size limit":
        most = (150_000, 150_000)
        yield tmp_path / "run", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, most)
        return
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=5600k", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system can be mounted by root alone, where it is allowed")
    yield folder / "run", None
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_the_run_and_keeps_what_is_whole(program, little_room):
    workdir, limit = little_room
    often = {"checkpoint__every_steps": 1, "checkpoint__keep": 100}
    done = program.train(workdir, limited=limit, steps=60, **often)
    assert done.returncode == 1, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("aligngap: ") and "cannot be written" in last
    assert "Traceback" not in done.stderr
    if limit is None:
        evaluated = program.run("evaluate", f"--workdir={workdir}")
        assert "is damaged" not in evaluated.stderr


def test_a_data_process_that_is_killed_ends_the_run(training, tmp_path):
    run = training(
        data__workers=1,
        steps=100_000,
        evaluated_every=100_000,
        checkpoint__every_steps=5,
    )
    run.wait_until((tmp_path / "run" / "checkpoints" / "5").exists)
    for pid in run.children("spawn_main"):
        os.kill(pid, signal.SIGKILL)
    assert run.end() == 1, run.said
    assert "aligngap: the data pipeline failed: " in run.said and "Traceback" not in run.said
