"""Training as a user meets it: its files, what ends it, evaluation and report."""

import json

import numpy as np
import pytest

from aligngap.runs.checkpoints import Checkpoints
from aligngap.training import run as runs

from workdirs import metrics

pytestmark = [pytest.mark.system, pytest.mark.corpus]


def test_a_run_leaves_its_files(finished):
    names = {path.name for path in finished.iterdir()}
    assert {"config.json", "metrics.jsonl", "checkpoints", "tokenizer", "commands.txt"} <= names
    assert any(name.startswith("events.") for name in names)
    lines = metrics(finished)
    assert all(next(iter(line)) == "step" for line in lines)
    trained = [line for line in lines if "train/loss" in line]
    assert [line["step"] for line in trained] == list(range(1, 9))
    assert {"train/contrastive", "train/separation_image", "train/scale"} <= trained[0].keys()
    validated = [line for line in lines if "validation/gap/centroid_distance" in line]
    assert [line["step"] for line in validated] == [0, 4, 8]


def test_a_finished_run_has_nothing_left_to_do(finished, program):
    before = metrics(finished)
    again = program.train(finished)
    assert again.returncode == 0, again.stderr
    assert metrics(finished) == before


def test_a_non_finite_loss_stops_the_run_and_keeps_the_last_good_checkpoint(program, tmp_path):
    """Gradients of a rate of 1e38 leave no parameter finite: step 3 sees it, step 2 was saved."""
    done = program.train(tmp_path / "run", optimizer__peak_lr=1e38, checkpoint__every_steps=1)
    assert done.returncode == 1
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("aligngap: ")
    assert "at step" in line
    step = int(line.split("at step ")[1].split(";")[0])
    run = runs.reopen(tmp_path / "run")
    with Checkpoints(tmp_path / "run", run.config) as checkpoints:
        assert checkpoints.steps()[-1] == step - 1
        run.load(checkpoints, step - 1)
    assert metrics(tmp_path / "run")[-1]["step"] < step
    assert "Traceback" not in done.stderr


def test_evaluate_report_and_gap(finished, evaluated, program, tmp_path):
    assert "test_unseen_both" in evaluated.stdout
    page = tmp_path / "report.html"
    done = program.run("report", f"--workdir={finished}", f"--output={page}")
    assert done.returncode == 0, done.stderr
    assert "AlignCLIP" in page.read_text()
    arrays = np.load(finished / "embeddings.npz")
    text = arrays["test_unseen_both/trained/text"][arrays["test_unseen_both/image_caption"]]
    np.testing.assert_array_equal(arrays["test_unseen_both/trained/pair_text"], text)
    evaluated = json.loads((finished / "evaluation.json").read_text())
    for kind in ("group", "subgroup"):
        names, classes, rows = (
            arrays[f"test_unseen_both/{kind}_{name}"] for name in ("names", "classes", "rows")
        )
        assert len(names) == len(classes) and len(rows) == len(text)
        right = (arrays["test_unseen_both/trained/image"] @ classes.T).argmax(1) == rows
        acc1 = evaluated["splits"]["test_unseen_both"]["zero_shot"][kind]["acc1"]["value"]
        assert right.mean() == pytest.approx(acc1, abs=1.01 / len(rows))
    np.testing.assert_array_equal(
        arrays["test_unseen_both/group_names"][arrays["test_unseen_both/group_rows"]],
        arrays["test_unseen_both/group"],
    )
    np.save(tmp_path / "image.npy", arrays["test_unseen_both/trained/image"])
    np.save(tmp_path / "text.npy", text)
    files = (f"--image={tmp_path / 'image.npy'}", f"--text={tmp_path / 'text.npy'}")
    done = program.run("gap", *files, f"--output={tmp_path / 'gap'}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "gap" / "gap.json").exists()
    assert "text.npy" in (tmp_path / "gap" / "report.html").read_text("utf-8")
    assert "centroid_distance" in done.stdout
