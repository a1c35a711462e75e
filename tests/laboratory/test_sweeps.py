"""Sweeps of small trainings on real pairs: what each changes, and what each leaves."""

import json

import numpy as np
import pytest

from aligngap.cli import main
from aligngap.laboratory import mismatch
from aligngap.laboratory.shared import corpus
from aligngap.training import loop
from aligngap.training import run as runs

pytestmark = pytest.mark.corpus
SMALL = ["--pairs=64", "--steps=20", "--batch=16", "--seeds=1"]


def gap(name, folder, output, *flags):
    assert main(["gap", name, *SMALL, f"--data_dir={folder}", f"--output={output}", *flags]) == 0
    assert (output / f"{name}.svg").read_text().startswith("<?xml")
    record = json.loads((output / f"{name}.json").read_text())
    assert record["settings"]["steps"] == 20
    return record["results"]["trainings"]


def test_dimension(pictograms_dir, tmp_path):
    trainings = gap("dimension", pictograms_dir, tmp_path, "--dimensions", "4", "64")
    assert [t["dimension"] for t in trainings] == [4, 64]
    assert trainings[1]["loss"][-1] < trainings[1]["loss"][0]


def test_without_a_mismatch_the_gap_of_the_start_is_what_initialisation_made(
    pictograms_dir, tmp_path
):
    first, amended = gap("init", pictograms_dir, tmp_path)
    assert [first["procrustes"], amended["procrustes"]] == [0.0, 1.0]
    assert amended["centroid_distance"][0] < 0.5 * first["centroid_distance"][0]


def test_mismatch(pictograms_dir, tmp_path):
    trainings = gap("mismatch", pictograms_dir, tmp_path, "--shares", "0", "0.5")
    assert [t["share"] for t in trainings] == [0.0, 0.5]


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_of_captions_changes_place(share):
    pairs = corpus.CaptionedImages(np.zeros((40, 2, 2, 3)), np.arange(40)[:, None], 50)
    moved = mismatch.mismatched(pairs, share, seed=0)
    assert sorted(moved.ids[:, 0]) == list(range(40))
    assert np.sum(moved.ids[:, 0] != pairs.ids[:, 0]) == round(share * 40)


def test_temperature_goes_on_from_a_checkpoint(small, tmp_path):
    small.steps = small.checkpoint.every_steps = 2
    small.optimizer.warmup_steps = 1
    run = runs.prepare(small, tmp_path / "run")
    loop.train(run)
    flags = [f"--workdir={tmp_path / 'run'}", "--scales", "1", "100"]
    cold, hot = gap("temperature", small.data.data_dir, tmp_path / "out", *flags)
    assert [cold["scale"], hot["scale"]] == [1.0, 100.0]
    # The same start, and the same pairs.
    assert cold["centroid_distance"][0] == hot["centroid_distance"][0]
    assert cold["centroid_distance"][-1] != hot["centroid_distance"][-1]


@pytest.mark.parametrize(
    ("name", "flags", "words"),
    [
        ("dimension", ["--dimensions", "1"], "1 must be at least 2"),
        ("mismatch", ["--shares", "2"], "[0, 1]"),
        ("init", ["--batch=0"], "--batch=0 must be at least 1"),
        ("init", ["--pairs=8", "--batch=16"], "--batch=16 is more than --pairs=8"),
        ("temperature", [], "--workdir"),
        ("temperature", ["--workdir=none", "--scales", "0"], "above 0"),
    ],
)
def test_what_cannot_be(tmp_path, capsys, name, flags, words):
    assert main(["gap", name, f"--output={tmp_path}", *flags]) == 2
    assert words in capsys.readouterr().err
