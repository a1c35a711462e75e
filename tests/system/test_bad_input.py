"""What a user can get wrong: one clear line, the right exit code, nothing overwritten."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from aligngap import cli
from aligngap import config as configs
from aligngap.errors import UsageError
from aligngap.runs import workdir
from aligngap.training import run as runs

pytestmark = [pytest.mark.system, pytest.mark.corpus]
ROOT = Path(__file__).parents[2]
QUICKSTART = ["train", f"--config={ROOT}/configs/quickstart.py"]
BENCH = ["bench", "step", f"--config={ROOT}/configs/quickstart.py"]


def refused(done, code, *words):
    """The program ended with `code` and one line that holds every word."""
    told(done.returncode, done.stderr, code, *words)


def told(found, said, code, *words):
    assert found == code, said
    lines = [line for line in said.splitlines() if line.startswith("aligngap: ")]
    assert len(lines) == 1, said
    assert "Traceback" not in said
    for word in words:
        assert word in lines[0], lines[0]


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    """(arguments) → exit code and errors of the command, run in this process in tmp_path."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        capsys.readouterr()
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as left:  # Of argparse.
            code = left.code
        return code, capsys.readouterr().err

    return run


def test_unknown_key_names_the_nearest(program, tmp_path):
    refused(
        program.train(tmp_path / "run", optimizer__peek_lr=1),
        2,
        "'optimizer.peek_lr'",
        "'optimizer.peak_lr'",
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"steps": "many"}, ["steps", "many"]),
        ({"batch_size": 0}, ["batch_size=0"]),
        ({"model.tie": "all"}, ["model.tie", "transformer+projection"]),
        ({"model.image.width": 48}, ["towers of one shape"]),
        ({"model.image.patch_size": 5}, ["patch 5"]),
        ({"compute_dtype": "float16"}, ["compute_dtype", "bfloat16"]),
        ({"data.corpus": "pictures"}, ["'pictures'", "pictograms"]),
        ({"data.train_split": "trian"}, ["'trian'", "test_unseen_style"]),
        ({"mesh.data": 3}, ["mesh", "8 devices"]),
        ({"data.semantics": "nowhere.npy"}, ["nowhere.npy"]),
        ({"data.test_splits": "('test',)"}, ["'test'"]),
        ({"model.text.vocab_size": 100}, ["vocab_size=100", "514"]),
        ({"data.tokenizer": "clip"}, ["vocab_size=600", "data.tokenizer=clip", "49408"]),
        ({"seed": -1}, ["seed=-1"]),
    ],
)
def test_wrong_values(program, tmp_path, overrides, words):
    """What the verb does before it looks for other processes, and what it calls next."""
    _, file, _, *flags = program.train_arguments(tmp_path / "run", **overrides)
    with pytest.raises(UsageError) as error:
        runs.prepare(configs.load(file.removeprefix("--config="), flags), tmp_path / "run")
    for word in words:
        assert word in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_batch_that_the_mesh_does_not_divide(program, tmp_path):
    done = program.train(tmp_path / "run", devices=8, batch_size=36)
    refused(done, 2, "batch_size=36", "32 or 40")
    assert not (tmp_path / "run").exists()


def test_missing_corpus_says_how_to_make_it(program, tmp_path):
    done = program.train(tmp_path / "run", data__data_dir=tmp_path / "nothing")
    refused(done, 1, "missing", "aligngap prepare --corpus=pictograms")
    assert not (tmp_path / "run").exists()


def test_a_refused_command_leaves_a_live_run_as_it_was(program, copied, capsys):
    """What its folder says of it, by which it goes on."""
    before = {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()}
    with workdir.alone(copied):
        assert cli.main(program.train_arguments(copied, checkpoint__keep=1)) == 1
    assert f"another process is training in {copied}" in capsys.readouterr().err
    after = {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()}
    assert {p.name for p in after.keys() - before.keys()} <= {".lock"}
    assert {p: after[p] for p in before} == before


def test_another_configs_run_is_not_overwritten(program, finished):
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file()}
    refused(program.train(finished, seed=1), 2, "another config's run", "seed was 0 and is now 1")
    assert before == {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file()}


def test_where_and_how_a_run_is_seen_may_change(program, finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    done = program.train(copy, log__every_steps=2, devices=2)
    assert done.returncode == 0, done.stderr


def test_unwritable_workdir(program, tmp_path):
    """A file in the folder's place: root, who may run this, ignores modes."""
    (tmp_path / "file").write_text("not a folder")
    refused(program.train(tmp_path / "file" / "run"), 1, "cannot be written")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "--config=nowhere.py", "--workdir=x"], 2, ["nowhere.py does not exist"]),
        (["train", f"--config={ROOT}/configs/quickstart.py:clap", "--workdir=x"], 2, ["'clap'"]),
        (QUICKSTART, 2, ["--workdir"]),
        ([*QUICKSTART, "--wrokdir=x"], 2, ["--wrokdir"]),
        ([*QUICKSTART, "--workdir=x", "--topology=h100-1"], 2, ["--topology=h100-1", "--dry_run"]),
        ([*QUICKSTART, "--sweep", "--dry_run", "--topology=tape-0"], 2, ["--topology=tape-0"]),
        (["tarin"], 2, ["tarin"]),
        ([], 2, ["VERB"]),
        (["evaluate", "--workdir=nowhere"], 1, ["nowhere holds no run"]),
        (["evaluate", "--workdir=nowhere", "--stap=1"], 2, ["--stap"]),
        (["report", "--workdir=nowhere", "--output=x.html"], 1, ["nowhere/config.json"]),
        (["prepare", "--corpus=pictures"], 2, ["'pictures'"]),
        (["prepare", "--corpus=stamps", "--data_dir=gs://a/b"], 2, ["gs://a/b", "--source"]),
        (["prepare", "--list", "--source=x"], 2, ["--source and --name fetch nothing"]),
        (["prepare", "--source=x", "--name=y", "--max_aspect=nan"], 2, ["'nan' is no number of"]),
        (["prepare", "--source=x", "--name=y", "--max_aspect=.5"], 2, ["'.5' is no number of at"]),
        (["doctor", "--workdir=nowhere"], 1, ["nowhere holds no run"]),
        (["gap", "--image=a.npy", "--text=b.npy", "--output=o"], 1, ["a.npy"]),
        # Before anything is read: else the work is done and lost.
        (["gap", "--image=a", "--text=b", "--output=/dev/null/o"], 1, ["/dev/null/o/gap.json can"]),
        (["gap", "shift", "--image=a", "--text=b", "--output=/dev/null/o"], 1, ["o/shift.json"]),
        (["report", "--workdir=nowhere", "--output=."], 1, [". cannot be written: it is a folder"]),
        (["evaluate", "--compare", "--workdir=x", "--output=/dev/null"], 1, ["comparison.json"]),
        ([*BENCH, "--output=/dev/null/x.json"], 1, ["/dev/null/x.json cannot be written"]),
    ],
)
def test_wrong_commands(here, tmp_path, arguments, code, words):
    told(*here(*arguments), code, *words)
    assert not list(tmp_path.iterdir())


def test_evaluate_names_the_steps_there_are(program, finished):
    refused(program.run("evaluate", f"--workdir={finished}", "--step=3"), 1, "step 3", "[4, 6, 8]")


@pytest.mark.parametrize(
    ("image", "text", "words"),
    [
        (np.ones((4, 3)), np.ones((5, 3)), ["(4, 3)", "(5, 3)"]),
        (np.eye(4), np.diag([1.0, 1, 0, 1]), ["text.npy", "row 2"]),
        (np.full((4, 3), np.nan), np.ones((4, 3)), ["image.npy", "rows 0, 1, 2, 3", "not finite"]),
        (np.ones((1, 3)), np.ones((1, 3)), ["at least 2"]),
        (np.ones(4), np.ones(4), ["[N, D]"]),
        (np.array([{}] * 3), np.ones((3, 3)), ["image.npy", "not a readable"]),
    ],
)
def test_gap_of_what_is_no_embedding(here, tmp_path, image, text, words):
    np.save(tmp_path / "image.npy", image, allow_pickle=True)
    np.save(tmp_path / "text.npy", text)
    told(*here("gap", "--image=image.npy", "--text=text.npy", "--output=out"), 1, *words)
    assert not (tmp_path / "out").exists()


def test_gap_of_several_arrays_in_one_file_lists_them(here, tmp_path):
    np.savez(tmp_path / "both.npz", image=np.eye(4), text=np.eye(4))
    found = here("gap", "--image=both.npz", "--text=both.npz", "--output=out")
    told(*found, 1, "both.npz holds 2 arrays", "both.npz:NAME", "image, text")


def test_gap_of_labels_and_samples_that_do_not_fit(here, tmp_path):
    np.save(tmp_path / "rows.npy", np.eye(4))
    (tmp_path / "labels.txt").write_text("one\ntwo\n")
    gap = ["gap", "--image=rows.npy", "--text=rows.npy", "--output=out"]
    told(*here(*gap, "--labels=labels.txt"), 1, "labels.txt holds 2 labels for 4 pairs")
    told(*here(*gap, "--exact_pairs=none"), 2, "--exact_pairs", "'none'")
    told(*here(*gap, "--exact_pairs=1"), 2, "--exact_pairs=1")
    assert not (tmp_path / "out").exists()
