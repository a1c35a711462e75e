"""Shards in a store, from `aligngap prepare` to a trained model, with what goes wrong between."""

import sys
from pathlib import Path

import pytest

from aligngap.data import corpora

from forms import Pair, shards
from programs import Running
from store_server import PYTHON, SECRET, Proxy, Store, environment
from workdirs import final_state, metrics, saved_steps

pytestmark = [
    pytest.mark.system,
    pytest.mark.corpus,
    pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-s3; launch/test.sh makes it"),
]
SHARDS = 6
FIELDS = {
    "steps": 24,  # Half of them is not read yet when a step is saved.
    "data__corpus": "mine",
    "data__shuffle": "block",
    "data__block_size": 16,
    "data__window_blocks": 4,
    "data__train_split": "train",
    "data__validation_split": "validation",
    "data__test_splits": "('test',)",
}


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store") / "log.txt")
    found = Proxy(store.port)
    found.behind = store
    yield found
    found.end()
    store.end()


@pytest.fixture
def tars(pictograms_dir, tmp_path) -> Path:
    """Six shards of 50 pictures each."""
    source = corpora.find("pictograms", pictograms_dir).open("train")
    records = [source[20 * number] for number in range(50 * SHARDS)]
    pairs = [Pair(f"{n:06d}", r.image, [*r.captions[:2]]) for n, r in enumerate(records)]
    folder = tmp_path / "tars"
    folder.mkdir()
    for number in range(0, SHARDS, 2):
        two = shards(pairs[50 * number : 50 * number + 100], tmp_path / f"{number}").parent
        for half in range(2):
            (two / f"{half:05d}.tar").rename(folder / f"{number + half:05d}.tar")
    return folder


@pytest.fixture
def begin(proxy, program, tmp_path):
    """(python, argument, ...) → `aligngap ...` under way; killed at the end."""
    running = []

    def start(python, *arguments) -> Running:
        own = environment(proxy, **program.cache)
        command = [str(python), "-m", "aligngap.cli", *map(str, arguments)]
        running.append(Running(command, own, tmp_path / f"said_{len(running)}.txt"))
        return running[-1]

    yield start
    for each in running:
        each.kill()


def contents(data: Path) -> dict[str, bytes]:
    """Of the corpus in a data_dir, which its page names."""
    here = str(data).encode()
    files = (path for path in (data / "mine").rglob("*") if path.is_file())
    return {path.name: path.read_bytes().replace(here, b"DATA_DIR") for path in files}


def test_prepared_trained_and_gone_on_with(proxy, begin, tars, program, tmp_path):
    """`prepare` is killed with kill -9, the store fails in training: the end is that of the same
    shards on this machine."""
    address = proxy.behind.upload(tars, "tars") + "/*.tar"
    far, near, alone = (tmp_path / name for name in ("far", "near", "alone"))

    def prepare(python, source, data) -> Running:
        flags = f"--source={source}", "--name=mine", f"--data_dir={data}", "--workers=1"
        return begin(python, "prepare", *flags)

    def train(python, data, workdir) -> Running:
        fields = FIELDS | {"data__data_dir": str(data)}
        every = program.train_arguments(tmp_path / workdir, "clip", 24, **fields)
        return begin(python, *every)

    proxy.fault = lambda asked, before: "drip" if ".tar" in asked.path else ""
    killed = prepare(PYTHON, address, far)
    parts = far / ".mine.preparing" / "parts"
    killed.wait_until(lambda: len([*parts.glob("*.npz")]) >= 2)
    killed.kill()
    assert not (far / "mine").exists()
    proxy.forget()
    again = prepare(PYTHON, address, far)
    assert again.end() == 0, again.said
    assert "Going on with what" in again.said
    copied = [asked.path for asked in proxy.asked if asked.range.startswith("bytes=0-")]
    assert len({*copied}) < SHARDS  # Not again those that were done.
    for python, source, data in ((PYTHON, address, alone), (sys.executable, f"{tars}/*.tar", near)):
        assert prepare(python, source, data).end() == 0
    assert contents(far) == contents(alone)
    assert not (far / ".mine.preparing").exists()

    here = train(sys.executable, near, "near_run")
    assert here.end() == 0, here.said
    run = tmp_path / "far_run"

    def saved() -> bool:
        return any(path.name.isdigit() for path in (run / "checkpoints").glob("*"))

    proxy.fault = lambda asked, before: "500" if ".tar" in asked.path and saved() else ""
    failed = train(PYTHON, far, "far_run")
    assert failed.end() == 1, failed.said
    last = failed.said.strip().splitlines()[-1]
    assert last.startswith("aligngap: s3://pairs/tars/")
    assert "its store fails" in last
    assert "Traceback" not in failed.said
    assert "takes its place" not in failed.said
    assert saved_steps(run)[-1] < 24
    proxy.forget()
    done = train(PYTHON, far, "far_run")
    assert done.end() == 0, done.said
    assert metrics(run) == metrics(tmp_path / "near_run")
    assert final_state(run) == final_state(tmp_path / "near_run")
    assert proxy.count("GET", r"\.tar")
    for path in (p for p in tmp_path.rglob("*") if p.is_file()):
        assert SECRET.encode() not in path.read_bytes(), path


def test_a_store_that_fails_from_the_start_leaves_no_step(proxy, begin, tars, program, tmp_path):
    """Exit code 1 and a line, whatever is asked."""
    address = proxy.behind.upload(tars, "tars") + "/*.tar"
    data = f"--data_dir={tmp_path / 'data'}"
    asked = begin(PYTHON, "prepare", f"--source={address}", "--name=mine", data)
    assert asked.end() == 0, asked.said
    proxy.fault = lambda asked, before: "reset" if asked.method == "GET" else ""
    fields = FIELDS | {"data__data_dir": str(tmp_path / "data")}
    every = program.train_arguments(tmp_path / "run", "clip", **fields)
    run = begin(PYTHON, *every)
    assert run.end() == 1
    assert "its store fails" in run.said.strip().splitlines()[-1]
    assert "Traceback" not in run.said
