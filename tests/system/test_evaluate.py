"""`aligngap evaluate` of what there is: other evaluators, exports, no training split, processes."""

import dataclasses
import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from aligngap.data import corpora
from aligngap.runs.checkpoints import Checkpoints
from aligngap.training import run as runs

from programs import ROOT

pytestmark = [pytest.mark.system, pytest.mark.corpus]

SPLIT = "test_unseen_both"
# Runs a verb and says how many images were decoded by this process.
COUNTED = """
import sys
from aligngap.cli import main
from aligngap.data import images
decode, count = images.decode, 0
def counted(*given):
    global count
    count += 1
    return decode(*given)
images.decode = counted
code = main(sys.argv[1:])
print("decoded", count, file=sys.stderr)
sys.exit(code)
"""


def in_two(start, *given: str) -> list[int]:
    """A verb by two processes together; how many images each has decoded."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    where = (f"--coordinator_address=localhost:{port}", "--num_processes=2")
    both = [
        start([sys.executable, "-c", COUNTED, *given, *where, f"--process_id={process}"])
        for process in range(2)
    ]
    for one in both:
        assert one.end() == 0, one.said
    return [int(one.said.rpartition("decoded ")[2].split()[0]) for one in both]


def values(workdir: Path) -> dict:
    found = json.loads((workdir / "evaluation.json").read_text())
    return {"splits": found["splits"], "before": found["before"]}


def leaves(tree, path=""):
    if "value" in tree:
        yield path, tree
        return
    for name, below in tree.items():
        if isinstance(below, dict):
            yield from leaves(below, f"{path}/{name}")


def test_what_it_needs_imports_nothing_of_training():
    code = (
        "import sys, aligngap, aligngap.evaluation.evaluate, aligngap.evaluation.embed\n"
        "import aligngap.interop.opening, aligngap.interop.export\n"
        "import aligngap.reporting.run_page.page\n"
        "assert aligngap.load\n"
        "wrong = [name for name in sys.modules if name.startswith('aligngap.training')]\n"
        "assert not wrong, wrong"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("evaluated")
def test_the_training_split_may_be_gone(finished, program, pictograms_dir, tmp_path):
    folder = next((pictograms_dir / "pictograms").glob("[0-9]*"))
    left = tmp_path / "data" / "pictograms" / folder.name
    shutil.copytree(folder, left, ignore=shutil.ignore_patterns("*-validation.*", "*-train.*"))
    run = shutil.copytree(finished, tmp_path / "run")
    done = program.run("evaluate", f"--workdir={run}", f"--data_dir={tmp_path / 'data'}")
    assert done.returncode == 0, done.stderr
    assert values(run) == values(finished)


@pytest.mark.usefixtures("evaluated")
def test_other_evaluators_of_a_finished_run(finished, program, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "mine.py").write_text(
        "from ml_collections import ConfigDict\n"
        "from aligngap.config import evaluator\n"
        "def get_config(final='validation'):\n"
        "    return ConfigDict({'found': evaluator('retrieval', final=final)})\n"
    )
    entries = f"--evaluators={tmp_path / 'mine.py'}:{SPLIT}"
    assert program.run("evaluate", f"--workdir={run}", entries).returncode == 0
    wanted = values(finished)["splits"][SPLIT]["retrieval"]
    assert values(run)["splits"][SPLIT]["found"] == wanted
    done = program.run("evaluate", f"--workdir={run}", "--config.evaluators.gap.final=validation")
    assert done.returncode == 0, done.stderr
    for given, words in {
        "--config.evaluators.gap.type=gaps": "unknown evaluator 'gaps': one of arithmetic, cluster",
        "--config.evaluators.gap.final=tset": "unknown split 'tset' of pictograms",
        f"--evaluators={tmp_path / 'none.py'}": "none.py does not exist",
    }.items():
        done = program.run("evaluate", f"--workdir={run}", given)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_model_that_is_nan_is_not_evaluated(copied, program):
    run = runs.reopen(copied)
    with Checkpoints(copied, run.config, writing=True) as checkpoints:
        state, start = run.load(checkpoints, 8)
        broken = dataclasses.replace(state, params=jax.tree.map(lambda x: x * np.nan, state.params))
        checkpoints.save(9, broken, start.saved(run.config), {})
    done = program.run("evaluate", f"--workdir={copied}")
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert f"{SPLIT}: an embedding is not finite: is this checkpoint of a run" in done.stderr


@pytest.mark.usefixtures("evaluated")
def test_an_exported_folder_is_evaluated_as_its_run(finished, program, tmp_path):
    out = tmp_path / "out"
    given = (f"--workdir={finished}", "--format=transformers", f"--output={out}")
    made = program.run("export", *given)
    assert made.returncode == 0, made.stderr
    done = program.run(
        "evaluate",
        f"--workdir={out}",
        f"--data_dir={program.data_dir}",
        f"--config.data.test_splits=('{SPLIT}',)",
        "--config.data.max_keywords=3",
    )
    assert done.returncode == 0, done.stderr
    found, wanted = values(out)["splits"][SPLIT], values(finished)["splits"][SPLIT]
    assert found["retrieval"] == wanted["retrieval"]
    assert values(out)["before"] == {}
    done = program.run("embed", f"--workdir={out}", "--step=3", "--texts=x", f"--output={tmp_path}")
    assert done.returncode == 1
    assert "no run of ours" in done.stderr


@pytest.mark.usefixtures("evaluated")
def test_two_processes_measure_what_one_does_each_decoding_half(finished, program, start, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "evaluation.json").unlink()
    counts = in_two(start, "evaluate", f"--workdir={run}")
    assert sum(counts) == values(finished)["splits"][SPLIT]["num_images"]
    assert max(counts) - min(counts) <= 64  # Of the last batch, which is not full.
    found, wanted = (dict(leaves(values(folder))) for folder in (run, finished))
    assert found.keys() == wanted.keys()
    for name, leaf in wanted.items():
        # Embeddings differ by rounding, so two that nearly tie may change places.
        assert found[name] == pytest.approx(leaf, abs=1.0 if "_rank_" in name else 1e-5), name


def test_two_processes_embed_what_one_does(finished, program, start, tmp_path):
    given = (f"--images=pictograms/{SPLIT}", f"--texts=pictograms/{SPLIT}")
    where = f"--data_dir={program.data_dir}"
    one, two = tmp_path / "one", tmp_path / "two"
    done = program.run("embed", f"--workdir={finished}", *given, where, f"--output={one}")
    assert done.returncode == 0, done.stderr
    counts = in_two(start, "embed", f"--workdir={finished}", *given, where, f"--output={two}")
    assert sum(counts) == len(np.load(one / "image.npy"))
    assert min(counts) > 100
    for name in ("image", "text"):
        found, wanted = (np.load(folder / f"{name}.npy") for folder in (two, one))
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        ids = [(folder / f"{name}_ids.txt").read_text() for folder in (one, two)]
        assert ids[0] == ids[1]


def test_what_one_of_two_processes_cannot_decode_both_leave_out(
    finished, program, start, pictograms_dir, tmp_path
):
    """The broken image is among the rows of the second process, the file is the first's."""
    source = corpora.find("pictograms", pictograms_dir).open(SPLIT)
    (tmp_path / "images").mkdir()
    for row in range(140):
        content = source[row].image
        cut = content[:-200] if row == 135 else content
        (tmp_path / "images" / f"{row:03}.png").write_bytes(cut)
    given = (f"--workdir={finished}", f"--images={tmp_path / 'images'}")
    out = tmp_path / "out"
    counts = in_two(start, "embed", *given, "--skip_corrupt", f"--output={out}")
    assert sum(counts) == 140
    assert len(np.load(out / "image.npy")) == 139
    assert "135.png" not in (out / "image_ids.txt").read_text()
    assert json.loads((out / "image.json").read_text())["skipped_ids"][0][0] == "135.png"
