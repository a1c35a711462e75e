"""`aligngap gap NAME` of tasks on files: what each writes is the task's own value; bad input."""

import json

import numpy as np
import pytest

from aligngap import cli
from aligngap.gap import copies
from aligngap.laboratory.shared import labelled
from aligngap.tasks import (
    arithmetic,
    clustering,
    intra_modal,
    object_bias,
    perturbation,
    probe,
    text_similarity,
)
from aligngap.tasks.arithmetic import Changes
from aligngap.tasks.labelled import Rows
from aligngap.tasks.logistic_regression import Regression

COUNT, CLASSES = 60, 4


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clouds():
    random = np.random.default_rng(0)
    means = np.random.default_rng(1).normal(size=(CLASSES, 8))
    labels = np.arange(COUNT) % CLASSES
    return *(unit(means[labels] + random.normal(size=(COUNT, 8))) for _ in range(2)), labels


@pytest.fixture
def folder(tmp_path):
    image, text, labels = clouds()
    np.save(tmp_path / "image.npy", image)
    np.save(tmp_path / "text.npy", text)
    np.save(tmp_path / "words.npy", image[:3])
    (tmp_path / "labels.txt").write_text("".join(f"class {n}\n" for n in labels))
    (tmp_path / "numbers.txt").write_text("".join(f"{n}\n" for n in labels))
    (tmp_path / "others.txt").write_text("".join(f"{n // 4 % 3}\n" for n in range(COUNT)))
    (tmp_path / "names.txt").write_text("man\nwoman\nred hair\n")
    (tmp_path / "changes.tsv").write_text("0\tman\twoman\tclass 1\n7\tman\tred hair\tclass 2\n")
    (tmp_path / "scores.tsv").write_text("".join(f"{n % 5}\ta\tb\n" for n in range(COUNT)))
    return tmp_path


FLAGS = {
    "arithmetic": "--image=image.npy --labels=labels.txt --words=words.npy --names=names.txt "
    "--changes=changes.tsv --scales 0 1",
    "clustering": "--image=image.npy --text=text.npy --labels=labels.txt --seeds=2",
    "intra_modal": "--image=image.npy --labels=labels.txt --text=text.npy",
    "object_bias": "--image=image.npy --text=text.npy --objects=labels.txt --attributes=others.txt",
    "perturbation": "--image=image.npy --text=text.npy --labels=numbers.txt "
    "--classes=words4.npy --sizes 0.5 --draws=1",
    "probe": "--image=image.npy --labels=labels.txt --test_image=text.npy "
    "--test_labels=labels.txt --protocol=adamw --shots 2 --draws=1",
    "substitution": "--image=image.npy --text=text.npy --labels=labels.txt",
    "text_similarity": "--first=image.npy --second=text.npy --scores=scores.tsv",
}


@pytest.fixture
def run(folder, monkeypatch):
    """(name, flag=value to change ...) → exit code; files are read from the folder."""
    monkeypatch.chdir(folder)
    np.save("words4.npy", clouds()[1][:4])

    def start(name, *more):
        return cli.main(["gap", name, "--output=out", *FLAGS[name].split(), *more])

    return start


def wanted(name):
    image, text, labels = clouds()
    every, others = np.arange(COUNT), np.arange(COUNT) // 4 % 3
    if name == "arithmetic":
        changes = Changes(*(np.array(x) for x in ([0, 7], [0, 0], [1, 2], [1, 2])))
        given = image, labels, image[:3], changes, every, 0, (0.0, 1.0)
        return {f"scale_{s:g}": x for s, x in arithmetic.evaluate(*given).items()}
    if name == "clustering":
        return clustering.evaluate(Rows(image, labels), Rows(text, labels), range(2))
    if name == "intra_modal":
        sides = {"image": image, "text": text}.items()
        found = {s: intra_modal.evaluate(x, labels, every, 0) for s, x in sides}
    if name == "object_bias":
        sides = {"image": image, "text": text}.items()
        found = {s: object_bias.moad(x, labels, others, every, 0) for s, x in sides}
    if name in ("intra_modal", "object_bias"):
        return {f"{side}/{key}": x for side, own in found.items() for key, x in own.items()}
    if name == "perturbation":
        return perturbation.accuracy(image, text[:4], labels, every, 0, (0.5,), 1)
    if name == "text_similarity":
        scores = np.arange(COUNT) % 5.0
        return {"spearman": text_similarity.evaluate(image, text, scores, 0)}
    return {}


@pytest.mark.parametrize("name", FLAGS)
def test_it_writes_the_values_of_its_task(name, folder, run, capsys):
    assert run(name) == 0, capsys.readouterr().err
    record = json.loads((folder / "out" / f"{name}.json").read_text())
    assert (folder / "out" / f"{name}.svg").stat().st_size > 1000
    found = record["results"]
    for key, value in wanted(name).items():
        # Its rows come through float32 and its clusters by other numbers.
        assert found[key]["value"] == pytest.approx(value.value, abs=1e-6), key
        if value.chance is not None:
            assert found[key]["chance"] == pytest.approx(value.chance, abs=1e-9), key
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == len(found) or name == "perturbation"


def test_a_probe_learns_from_four_fifths_of_what_it_is_given(folder, run):
    assert run("probe", "--protocol=l2") == 0
    record = json.loads((folder / "out" / "probe.json").read_text())
    sizes = [record["settings"][f"{part}_rows"] for part in ("train", "validation", "test")]
    assert sizes == [48, 12, 60]
    found = record["results"]["lp_acc1"]["value"]
    image, text, labels = clouds()
    made = Regression(Rows(image, labels)).fit(record["settings"]["l2"])
    own = probe.hits(made, Rows(text, labels))[:, 0].mean()
    assert found == pytest.approx(own, abs=0.2) and found > 0.4


@pytest.mark.parametrize(
    ("name", "more", "code", "words"),
    [
        ("clustering", ["--seeds=0"], 2, "--seeds=0"),
        ("clustering", ["--labels=names.txt"], 1, "names.txt holds 3 labels for 60 pairs"),
        ("probe", ["--shots", "90"], 1, "90 shots: a class has only"),
        ("probe", ["--labels=same.txt", "--test_labels=same.txt"], 1, "at least two classes"),
        ("probe", ["--test_labels="], 2, "--test_image and --test_labels go together"),
        ("intra_modal", ["--labels=each.txt"], 1, "none of 60 rows shares its class"),
        ("object_bias", ["--objects=same.txt"], 1, "all of 60 rows share one object"),
        ("arithmetic", ["--changes=scores.tsv"], 1, "line 1: 3 columns, expected 4"),
        ("arithmetic", ["--changes=wrong.tsv"], 1, "line 2: 'child' is no word"),
        ("arithmetic", ["--changes=empty.tsv"], 1, "empty.tsv is empty; expected lines of image"),
        ("arithmetic", ["--scales", "1", "nan", "inf"], 2, "--scales=[1.0, nan, inf]"),
        ("arithmetic", ["--names=labels.txt"], 1, "60 words for 3 embeddings"),
        ("text_similarity", ["--scores=names.txt"], 1, "names.txt holds 3 scores for 60"),
        ("text_similarity", ["--scores=labels.txt"], 1, "line 1: 'class 0' is no number"),
        ("perturbation", ["--sizes", "0"], 2, "--sizes are above 0"),
        ("perturbation", ["--classes="], 2, "--labels and --classes go together"),
        ("substitution", ["--seed=-1"], 2, "--seed=-1"),
        ("substitution", ["--labels=same.txt"], 1, "at least two classes"),
    ],
)
def test_bad_input_is_one_line(name, more, code, words, folder, run, capsys):
    (folder / "empty.tsv").write_text("")
    (folder / "same.txt").write_text("one\n" * COUNT)
    (folder / "each.txt").write_text("".join(f"{n}\n" for n in range(COUNT)))
    (folder / "wrong.tsv").write_text("0\tman\twoman\tclass 1\n7\tman\tchild\tclass 2\n")
    assert run(name, *more) == code
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not (folder / "out").exists()


@pytest.mark.parametrize("name", ["clustering", "intra_modal", "object_bias", "substitution"])
def test_rows_that_stand_there_five_times_count_once(name, folder, run, capsys):
    """Values and intervals are those of distinct rows, in files of which each row is a copy."""
    assert run(name) == 0
    wanted = json.loads((folder / "out" / f"{name}.json").read_text())["results"]
    for file in ("image", "text"):
        np.save(folder / f"{file}.npy", np.repeat(np.load(folder / f"{file}.npy"), 5, axis=0))
    for file in ("labels", "others"):
        lines = (folder / f"{file}.txt").read_text().splitlines(keepends=True)
        (folder / f"{file}.txt").write_text("".join(line * 5 for line in lines))
    capsys.readouterr()
    assert run(name) == 0
    record = json.loads((folder / "out" / f"{name}.json").read_text())
    assert record["settings"]["copies"] == {"image": 4 * COUNT, "text": 4 * COUNT}
    assert "240 image rows and 240 text rows are copies of others" in capsys.readouterr().out
    assert record["results"] == wanted


def test_a_copy_of_one_modality_is_trained_on_once(folder, run):
    """Of 15 images of 60 captions each counts as much as one with a caption alone."""
    labels = np.arange(15) % CLASSES
    image, text = clouds()[0][:15], clouds()[1]
    own = np.sort(np.append(np.arange(15), np.random.default_rng(0).integers(15, size=45)))
    np.save(folder / "image.npy", image[own])
    (folder / "labels.txt").write_text("".join(f"class {n}\n" for n in labels[own]))
    assert run("substitution") == 0
    record = json.loads((folder / "out" / "substitution.json").read_text())
    items = copies.of(image[own], text)
    parts = labelled.parted(items.group, 0, test=True)
    train, validation, test = (np.unique(own[parts[part]]) for part in parts)
    chosen = probe.choose(Rows(image, labels).take(train), Rows(image, labels).take(validation))
    hits = probe.hits(chosen, Rows(image, labels).take(test))[:, 0].mean()
    assert record["settings"]["l2_of_image"] == pytest.approx(chosen.l2)
    assert record["results"]["image_to_image/acc1"]["value"] == pytest.approx(hits)
