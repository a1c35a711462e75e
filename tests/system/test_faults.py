"""What a run does about a damaged checkpoint, a full disk, and processes that die under it."""

import os
import resource
import shutil
import signal
import subprocess
import time

import pytest

pytestmark = [pytest.mark.system, pytest.mark.corpus]


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def largest_file(folder):
    return max(
        (path for path in folder.rglob("*") if path.is_file()), key=lambda p: p.stat().st_size
    )


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


@pytest.mark.parametrize("damage", [flip_a_bit, truncate])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    copied, finished, program, metrics, final_state, damage
):
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


def test_where_every_checkpoint_is_damaged_nothing_is_begun_anew(copied, program, metrics):
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
        yield (
            tmp_path / "run",
            lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000)),
        )
        return
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system can be mounted by root alone, where it is allowed")
    yield folder / "run", None
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_the_run_and_keeps_what_is_whole(program, little_room, final_state):
    workdir, limit = little_room
    done = subprocess.run(
        program.command(
            *program.train_arguments(
                workdir, steps=60, checkpoint__every_steps=1, checkpoint__keep=100
            )
        ),
        env=program.environment(),
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("aligngap: ") and "cannot be written" in last
    assert "Traceback" not in done.stderr
    if limit is None:
        evaluated = program.run("evaluate", f"--workdir={workdir}")
        assert "is damaged" not in evaluated.stderr


def test_a_data_process_that_is_killed_ends_the_run(program, tmp_path):
    workdir = tmp_path / "run"
    process = subprocess.Popen(
        program.command(
            *program.train_arguments(
                workdir,
                data__workers=1,
                steps=100_000,
                evaluation__every_steps=100_000,
                checkpoint__every_steps=5,
            )
        ),
        env=program.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 240
    while not (workdir / "checkpoints" / "5").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    workers = subprocess.check_output(["pgrep", "-P", str(process.pid), "-f", "spawn_main"])
    for pid in workers.split():
        os.kill(int(pid), signal.SIGKILL)
    said = process.communicate(timeout=240)[1]
    assert process.returncode == 1, said
    assert "aligngap: the data pipeline failed: " in said and "Traceback" not in said
