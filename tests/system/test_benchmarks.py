"""Standard sets, an imported model, one command each: the numbers of CLIP_benchmark's own code."""

import argparse
import csv
import io
import json
import shutil
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from aligngap.cli import main
from aligngap.data import corpora, fetch, prompts

import layouts
from programs import Program

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = [pytest.mark.system, pytest.mark.corpus]
# The last is said twice.
CAPTIONS = ("A drawing of {}.", "{}, number {}", "There is {} here: {}", *(["{1} times {0}"] * 2))


@pytest.fixture(scope="module")
def sets(pictograms_dir, tmp_path_factory):
    """A program that finds a set of CIFAR-10's form where its data is, and one of COCO's: there
    each image has five captions that no other has."""
    folder = tmp_path_factory.mktemp("sets")
    (folder / "downloads").symlink_to(pictograms_dir / "downloads")
    records = layouts.drawings(pictograms_dir)
    layouts.cifar10(folder, records)
    examples = [
        {
            "image": layouts.encoded(record.image, "JPEG", 48 + number % 9),
            "image/filename": f"COCO_val2014_{number:012}.jpg",
            "image/id": number,
            "objects": [],
            "captions": [
                {"id": i, "text": f"{form.format(record.captions[0], number)} {number}"}
                for i, form in enumerate(CAPTIONS)
            ],
        }
        for number, record in enumerate(records[:60])
    ]
    layouts.write(folder, "coco_captions/2014:1.1.0", layouts.COCO, {"test": examples})
    return Program(folder)


@pytest.fixture(scope="module")
def saved(finished, tmp_path_factory):
    """(seed) → a folder of transformers with the form of our run and random parameters, so that
    embeddings differ by more than rounding."""
    out = tmp_path_factory.mktemp("saved") / "out"
    assert (
        main(["export", f"--workdir={finished}", "--format=transformers", f"--output={out}"]) == 0
    )

    def make(seed):
        folder = shutil.copytree(out, out.with_name(f"random{seed}"))
        model = transformers.CLIPModel.from_pretrained(folder)
        torch.manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name != "logit_scale":
                    # Words and patches count most: else all texts are nearly one point.
                    far = 2.0 if "token_embedding" in name or "patch" in name else 0.2
                    parameter.add_(far * torch.randn_like(parameter))
        model.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="module")
def imported(saved, sets, tmp_path_factory):
    """(the folder of transformers, our workdir of it) of two models."""
    found = []
    for seed in (0, 1):
        source, run = saved(seed), tmp_path_factory.mktemp("runs") / f"random{seed}"
        given = [f"--source={source}", f"--workdir={run}", f"--data_dir={sets.data_dir}"]
        assert main(["import", *given]) == 0
        found.append((source, run))
    return found


@pytest.fixture(scope="module")
def evaluated(imported, sets):
    """set → what `clip_benchmark/*.json` of the first model says after one command."""

    def evaluate(corpus):
        run = imported[0][1]
        done = sets.run("evaluate", f"--workdir={run}", f"--config.data.corpus={corpus}")
        assert done.returncode == 0, done.stderr
        files = sorted((run / "clip_benchmark").glob("*.json"))
        return files, [json.loads(file.read_text()) for file in files]

    return evaluate


class Theirs(torch.nn.Module):
    """transformers' model as CLIP_benchmark calls it."""

    def __init__(self, folder):
        super().__init__()
        self.model = transformers.CLIPModel.from_pretrained(folder).eval()
        self.processor = transformers.CLIPProcessor.from_pretrained(folder)

    def encode_image(self, pixels):
        return self.model.get_image_features(pixel_values=pixels).pooler_output

    def encode_text(self, ids):
        return self.model.get_text_features(input_ids=ids).pooler_output

    def tokenize(self, texts):
        tokens = self.processor.tokenizer
        return tokens(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids

    def pixels(self, content):
        picture = Image.open(io.BytesIO(content)).convert("RGB")
        return self.processor.image_processor(picture, return_tensors="pt").pixel_values[0]


class Dataset(torch.utils.data.Dataset):
    def __init__(self, items, classes=()):
        self.items, self.classes = items, classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, row):
        return self.items[row]


@pytest.fixture
def clip_benchmark(pictograms_dir, monkeypatch):
    """Its package, imported out of its wheel, for this test."""
    wheel = fetch.wheel(prompts.WHEEL, fetch.downloads(pictograms_dir))
    monkeypatch.syspath_prepend(str(wheel))
    yield wheel
    for name in [name for name in sys.modules if name.startswith("clip_benchmark")]:
        del sys.modules[name]


def accuracy(output, target, topk):
    """CLIP_benchmark's own, which takes the float of an array [1]: NumPy 2.4 refuses that."""
    first = output.topk(max(topk), 1, True, True)[1].t()
    correct = first.eq(target.view(1, -1).expand_as(first))
    return [float(correct[:k].reshape(-1).float().sum()) / len(target) for k in topk]


def test_zero_shot_is_what_clip_benchmark_finds(
    evaluated, imported, sets, clip_benchmark, monkeypatch
):
    from clip_benchmark.metrics import zeroshot_classification

    monkeypatch.setattr(zeroshot_classification, "accuracy", accuracy)
    _, (found,) = evaluated("cifar10")
    assert [*found][:6] == ["dataset", "model", "pretrained", "task", "metrics", "language"]
    assert (found["dataset"], found["task"]) == ("cifar10", "zeroshot_classification")
    member = "clip_benchmark/datasets/en_zeroshot_classification_templates.json"
    templates = json.loads(zipfile.ZipFile(clip_benchmark).read(member))["cifar10"]
    model, source = Theirs(imported[0][0]), corpora.find("cifar10", sets.data_dir).open("test")
    items = [
        (model.pixels(source[row].image), layouts.CIFAR10.index(source[row].labels["label"]))
        for row in range(len(source))
    ]
    loader = torch.utils.data.DataLoader(Dataset(items, layouts.CIFAR10), batch_size=16)
    classes = list(layouts.CIFAR10)
    wanted = zeroshot_classification.evaluate(
        model, loader, model.tokenize, classes, templates, "cpu", amp=False
    )
    ece = found["metrics"].pop("ece")
    assert 0 < ece < 1
    assert found["metrics"] == pytest.approx(wanted, abs=1e-4)
    assert 0 < wanted["acc1"] < wanted["acc5"]


def test_retrieval_with_five_captions_is_what_clip_benchmark_finds(
    evaluated, imported, sets, clip_benchmark, tmp_path, monkeypatch
):
    from clip_benchmark.metrics import zeroshot_retrieval

    files, (found,) = evaluated("coco_captions/2014")
    assert (found["dataset"], found["split"]) == ("coco_captions/2014", "test")
    assert found["task"] == "zeroshot_retrieval"
    model = Theirs(imported[0][0])
    source = corpora.find("coco_captions/2014", sets.data_dir).open("test")
    records = [source[row] for row in range(len(source))]
    assert {len(record.captions) for record in records} == {5}
    items = [(model.pixels(record.image), list(record.captions)) for record in records]
    loader = torch.utils.data.DataLoader(
        Dataset(items), batch_size=16,
        collate_fn=lambda batch: (torch.stack([x for x, _ in batch]), [y for _, y in batch]),
    )  # fmt: skip
    wanted = zeroshot_retrieval.evaluate(
        model, loader, model.tokenize, "cpu", amp=False, recall_k_list=[1, 5, 10]
    )
    assert found["metrics"] == pytest.approx(wanted, abs=1e-4)
    assert 0 < wanted["text_retrieval_recall@10"] < 1
    row = built(files[0].parent, tmp_path / "all.csv", monkeypatch)
    assert row["model_fullname"] == f"{found['model']} random0_step0"
    assert float(row["image_retrieval_recall@5"]) == found["metrics"]["image_retrieval_recall@5"]


def test_a_probe_by_one_command(saved, sets, tmp_path):
    """Trained on four fifths of the set's training split, chosen by the rest."""
    given = [f"--source={saved(2)}", f"--workdir={tmp_path / 'run'}", f"--data_dir={sets.data_dir}"]
    assert main(["import", *given]) == 0
    probe = tmp_path / "probe.py"
    probe.write_text('def get_config():\n    return {"probe": {"type": "probe", "shots": (1,)}}\n')
    done = sets.run(
        *("evaluate", f"--workdir={tmp_path / 'run'}"),
        *(f"--evaluators={probe}", "--config.data.corpus=cifar10"),
        "--config.data.train_split=train[:80%]",
        "--config.data.validation_split=train[80%:]",
    )
    assert done.returncode == 0, done.stderr
    assert "Probing label on 48 images" in done.stderr
    files = (tmp_path / "run" / "clip_benchmark").glob("*.json")
    by_labels = {one["labels"]: one for one in map(json.loads, map(Path.read_text, files))}
    found = by_labels["label"]
    assert (found["dataset"], found["task"]) == ("cifar10", "linear_probe")
    values = json.loads((tmp_path / "run" / "evaluation.json").read_text())["splits"]["test"]
    own = values["probe"]["label"]
    assert found["metrics"]["lp_acc1"] == pytest.approx(own["lp_acc1"]["value"], abs=1e-6)
    assert own["lp_acc1"]["chance"] == pytest.approx(0.1)
    assert {*own["few_shot_1"]} == {"lp_acc1", "lp_acc5", "lp_mean_per_class_recall"}


def built(folder, output, monkeypatch):
    """The one row that `clip_benchmark build FOLDER` writes; what it does not need for that, such
    as torchvision, is left out."""
    for name in ("datasets.builder", "metrics.captioning", "models", "model_collection"):
        module = ModuleType(f"clip_benchmark.{name}")
        module.__getattr__ = lambda name: None
        monkeypatch.setitem(sys.modules, module.__name__, module)
    from clip_benchmark import cli

    cli.main_build(argparse.Namespace(files=[str(folder)], output=str(output)))
    (row,) = csv.DictReader(output.open())
    return row


def test_runs_beside_each_other(imported, sets, tmp_path, capsys):
    for _, run in imported:
        given = [f"--workdir={run}", "--config.data.corpus=cifar10"]
        assert main(["evaluate", *given]) == 0
    both = [f"--workdir={run}" for _, run in imported]
    capsys.readouterr()
    out = tmp_path / "out"
    assert main(["evaluate", "--compare", *both, f"--output={out}"]) == 0
    printed = capsys.readouterr().out
    assert "zero_shot/label/acc1" in printed and "B − A" in printed
    found = json.loads((out / "comparison.json").read_text())["splits"]["test"]
    apart = found["zero_shot"]["label/acc1"]["differences"][0]
    values = [
        json.loads((run / "evaluation.json").read_text())["splits"]["test"]["zero_shot"]["label"]
        for _, run in imported
    ]
    wanted = values[1]["acc1"]["value"] - values[0]["acc1"]["value"]
    assert apart["value"] == pytest.approx(wanted, abs=1e-6)
    assert apart["low"] <= apart["value"] <= apart["high"]
    assert "<svg" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--config.evaluators.zero_shot.kinds=('species',)"], "no labels of kind 'species'; it"),
        (["--config.evaluators.zero_shot.prompts=cifar"], "prompts=cifar: CLIP_benchmark has none"),
        (["--config.evaluators.zero_shot.classes=mnist1"], "classes=mnist1: CLIP_benchmark has"),
        (["--config.evaluators.zero_shot.classes=pets"], "classes=pets are 37, label of cifar10"),
        (["--config.evaluators.zero_shot.language=it"], "no names of its classes in 'it'"),
        (["--config.evaluators.zero_shot.prompts=NONE.json"], "the class 'frog'"),
        (["--output=x"], "--output goes with --compare"),
    ],
)
def test_what_is_wrong_is_one_line(given, words, imported, tmp_path, capsys):
    own = tmp_path / "own.json"
    own.write_text(json.dumps({name: [name] for name in layouts.CIFAR10 if name != "frog"}))
    given = [each.replace("NONE.json", str(own)) for each in given]
    run = imported[0][1]
    before = np.load(run / "embeddings.npz")["step"] if (run / "embeddings.npz").exists() else None
    code = main(["evaluate", f"--workdir={run}", "--config.data.corpus=cifar10", *given])
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("aligngap:")]
    assert code == 2
    assert len(said) == 1 and words in said[0]
    assert before is None or np.load(run / "embeddings.npz")["step"] == before
