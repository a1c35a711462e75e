"""Sets of TensorFlow Datasets through the public verbs: trained on, evaluated on, embedded."""

import json

import numpy as np
import pytest

from aligngap.data import corpora

import layouts
from programs import Program
from workdirs import metrics

pytestmark = [pytest.mark.system, pytest.mark.corpus]
FIELDS = {  # Of a config; "__" stands for a dot.
    "data__corpus": "coco_captions/2014",
    "data__train_split": "train+restval",
    "data__validation_split": "",
    "data__test_splits": "()",
    "steps": 4,
    "evaluators__zero_shot__every_steps": 2,
    "evaluators__zero_shot__split": "cifar10/test[:50%]",
}


@pytest.fixture(scope="module")
def sets(pictograms_dir, tmp_path_factory):
    """A program that finds both sets where its data is."""
    folder = tmp_path_factory.mktemp("sets")
    (folder / "downloads").symlink_to(pictograms_dir / "downloads")  # For the prompts.
    records = layouts.drawings(pictograms_dir)
    layouts.coco_captions(folder, records)
    layouts.cifar10(folder, records)
    return Program(folder)


@pytest.fixture(scope="module")
def trained(sets, tmp_path_factory):
    """A run on coco_captions, measured by classes of cifar10 meanwhile."""
    workdir = tmp_path_factory.mktemp("runs") / "coco"
    done = sets.train(workdir, preset="clip", **FIELDS)
    assert done.returncode == 0, done.stderr
    return workdir


def test_training_on_one_set_and_measuring_on_another(trained):
    found = metrics(trained)
    measured = [x["step"] for x in found if "cifar10/test[:50%]/zero_shot/label/acc1" in x]
    assert measured == [0, 2, 4]
    assert [x["step"] for x in found if "validation/retrieval/image_retrieval_recall@1" in x]
    losses = [x["train/loss"] for x in found if "train/loss" in x]
    assert len(losses) == 4
    assert np.isfinite(losses).all()


def test_evaluating_on_another_set_and_a_page_of_it(sets, trained, tmp_path):
    done = sets.run(
        "evaluate", f"--workdir={trained}", "--config.evaluators.zero_shot.final=cifar10/test"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((trained / "evaluation.json").read_text())["splits"]
    assert found["cifar10/test"]["zero_shot"]["label"]["acc1"]["chance"] == 0.1
    assert found["cifar10/test"]["num_images"] == 40
    assert "retrieval" not in found["cifar10/test"]
    assert found["test"]["num_captions"] > found["test"]["num_images"] == 30
    page = tmp_path / "report.html"
    done = sets.run("report", f"--workdir={trained}", f"--output={page}")
    assert done.returncode == 0, done.stderr
    assert "coco_captions/2014, test" in page.read_text()


def test_embedding_a_split_of_a_set(sets, trained, tmp_path):
    given = ("--images=cifar10/test[:5]", "--texts=coco_captions/2014/val")
    where = (f"--data_dir={sets.data_dir}", f"--output={tmp_path / 'out'}")
    done = sets.run("embed", f"--workdir={trained}", *given, *where)
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "out" / "image.npy").shape == (5, 16)
    ids = (tmp_path / "out" / "image_ids.txt").read_text().split()
    source = corpora.find("cifar10", sets.data_dir).open("test")
    assert ids == [f"test[:5]/{row}/{source[row].name}" for row in range(5)]


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"data__corpus": "cifar10"}, 2, "data.validation_split='train[95%:]'"),
        ({"data__corpus": "cifar100"}, 1, "run `tfds build cifar100 --data_dir="),
        ({"data__corpus": "cifar_10"}, 2, "near to it: cifar10"),
        ({"data__train_split": "train[95%:300%]"}, 2, "split 'train[95%:300%]' of coco_captions"),
    ],
)
def test_what_is_wrong_with_them_is_one_line(fields, code, words, sets, tmp_path):
    given = {**FIELDS, "data__train_split": "", **fields}
    done = sets.train(tmp_path / "run", preset="clip", **given)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()
