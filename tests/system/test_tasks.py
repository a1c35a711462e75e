"""`aligngap evaluate` with each evaluator of tasks on pictograms: its values are the task's own."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import aligngap
from aligngap import config as configs
from aligngap.data import eval_set
from aligngap.data.corpus import Corpus, Split
from aligngap.errors import AligngapError, UsageError
from aligngap.evaluation import evaluator, labelled, variants
from aligngap.evaluation.gap import one_image_a_group
from aligngap.evaluation.subject import Subject
from aligngap.runs import workdir
from aligngap.tasks import clustering, intra_modal, object_bias, perturbation
from aligngap.tasks.labelled import Rows
from aligngap.tasks.retrieval import expected_hits

pytestmark = [pytest.mark.system, pytest.mark.corpus]

SPLIT = "test_unseen_both"
ENTRIES = """
from ml_collections import ConfigDict
from aligngap.config import evaluator

def get_config():
    one = {"kinds": ("group",)}
    return ConfigDict({
        "probe": evaluator("probe", **one, validation="test_unseen_style", shots=(2,), draws=2),
        "clustering": evaluator("clustering", **one, seeds=2),
        "intra_modal": evaluator("intra_modal", **one),
        "substitution": evaluator("substitution", **one),
        "perturbation": evaluator("perturbation", **one, sizes=(0.5,), draws=1),
        "object_bias": evaluator("object_bias", thing="group", attribute="subgroup"),
        "arithmetic": evaluator("arithmetic", scales=(0.0, 1.0)),
        "own": evaluator("arithmetic", scales=(1.0,), changes="changes.tsv", kind="group"),
        "sts": evaluator("text_similarity", pairs="pairs.tsv"),
    })
"""


@pytest.fixture(scope="module")
def run(finished, program, tmp_path_factory):
    """A copy of the finished run, evaluated by all of them, in the folder of their files."""
    folder = tmp_path_factory.mktemp("tasks")
    config = workdir.read_config(finished)
    data = eval_set.read(config, SPLIT)
    (folder / "mine.py").write_text(ENTRIES)
    changes = (f"{name}\tman\twoman\t{data.labels['group'][0]}" for name in data.names[:5])
    (folder / "changes.tsv").write_text("\n".join(changes))
    pairs = (f"{row % 6}\t{data.texts[row]}\t{data.texts[row + 1]}" for row in range(40))
    (folder / "pairs.tsv").write_text("\n".join(pairs))
    shutil.copytree(finished, folder / "run")
    given = (f"--workdir={folder / 'run'}", f"--evaluators={folder / 'mine.py'}")
    done = program.run("evaluate", *given, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run", data


@pytest.fixture(scope="module")
def found(run):
    """(values of the split, image embeddings, text embeddings, the split)."""
    folder, data = run
    with np.load(folder / "embeddings.npz") as arrays:
        image, text = (arrays[f"{SPLIT}/trained/{side}"] for side in ("image", "text"))
    values = json.loads((folder / "evaluation.json").read_text())["splits"][SPLIT]
    return values, image, text, data


def test_what_embeddings_alone_say(found):
    values, image, text, data = found
    classes = labelled.numbers(data, "group")
    pairs = one_image_a_group(data.image_group)
    clouds = image[pairs], text[data.image_text[pairs]]
    rows = (Rows(each, classes[pairs]) for each in clouds)
    for name, wanted in clustering.evaluate(*rows, range(2)).items():
        pool, measure = name.split("/")
        assert values["clustering"]["group"][pool][measure] == pytest.approx(wanted.as_json())
    of_texts = labelled.of_texts(data, classes)
    for side, given in {
        "image": (image, classes, data.image_group),
        "text": (text, of_texts, data.text_group),
    }.items():
        for name, wanted in intra_modal.evaluate(*given, 0).items():
            got = values["intra_modal"]["group"][side][name]
            assert got == pytest.approx(wanted.as_json()), name
    labels = data.image_group, data.text_group
    noise = perturbation.retrieval(image, text, *labels, 0, (0.5,), 1)
    got = values["perturbation"]["noise_0.5"]["text_retrieval_recall@10"]
    assert got == pytest.approx(noise["noise_0.5/text_retrieval_recall@10"].as_json())
    assert values["perturbation"]["group"]["int8"]["acc1"]["chance"] == 1 / 8


def test_classifiers_of_both_modalities(found):
    values = found[0]
    probe = values["probe"]["group"]
    assert probe["lp_acc1"]["chance"] == 1 / 8
    # Eight steps teach images hardly anything; texts share words with those of their class.
    assert 0 < probe["lp_acc1"]["low"] < probe["lp_acc5"]["value"]
    assert probe["few_shot_2"]["lp_acc1"]["value"] < probe["lp_acc5"]["value"]
    substitution = values["substitution"]["group"]
    assert {*substitution} == {f"{a}_to_{b}" for a in ("image", "text") for b in ("image", "text")}
    assert substitution["text_to_text"]["acc1"]["value"] > 1 / 8


def test_a_probe_is_a_task_of_clip_benchmark(run):
    folder, _ = run
    found = [json.loads(path.read_text()) for path in (folder / "clip_benchmark").iterdir()]
    own = next(x for x in found if x["split"] == SPLIT and x["labels"] == "group")
    assert own["task"] == "linear_probe" and own["dataset"] == "pictograms"
    assert {*own["metrics"]} == {"lp_acc1", "lp_acc5", "lp_mean_per_class_recall"}
    with np.load(folder / "embeddings.npz") as arrays:
        kept = arrays[f"{SPLIT}/scores/probe/group/lp_acc1"]
    assert kept.mean() == pytest.approx(own["metrics"]["lp_acc1"], abs=1e-6)


def test_arithmetic_is_of_people_who_differ_by_gender(found):
    values, image, _, data = found
    assert {*values["arithmetic"]} == {"gender"}  # Of this split; hair and colours are trained.
    made = variants.find(data, "", "", "arithmetic")["gender"]
    assert made.values == ["man", "person", "woman"]
    said = {data.texts[data.image_text[row]].split(",")[0] for row in made.image}
    assert {"man elf", "woman elf"} <= said and "woman's hat" not in said
    shown = made.thing * 3 + made.value
    hits = []
    for row, thing, own in zip(made.image, made.thing, shown, strict=True):
        others = np.delete(np.arange(len(image)), row)
        nearest = others[np.argmax(image[others] @ image[row])]
        label = dict(zip(made.image, shown, strict=True)).get(nearest, -1)
        wanted = {s for s in shown[made.thing == thing] if s != own}
        hits += [label == each for each in wanted]
    got = values["arithmetic"]["gender"]["scale_0"]
    assert got["value"] == pytest.approx(np.mean(hits), abs=0.1)  # Its weights differ a little.
    assert 0 <= values["own"]["group"]["scale_1"]["value"] <= 1


def test_the_rest_is_there(found):
    values, image, _, data = found
    things, attributes = (
        np.unique(data.labels[k], return_inverse=True)[1] for k in ("group", "subgroup")
    )
    wanted = object_bias.moad(image, things, attributes, data.image_group, 0)["moad"]
    got = values["object_bias"]["subgroup"]["image"]["moad"]
    assert got["value"] == pytest.approx(wanted.value, abs=0.05)  # Groups of one subgroup left out.
    sts = values["sts"]["spearman"]
    assert -1 <= sts["low"] <= sts["value"] <= sts["high"] <= 1
    hits = expected_hits(image, image, np.arange(len(image)), np.arange(len(image)), (1,))
    assert hits.mean() > 0.9  # The embeddings have not collapsed: the rest says something.


@pytest.fixture(scope="module")
def subject(finished):
    """The finished run's model under evaluation, and its parameters."""
    model = aligngap.load(finished)
    with_intervals = {"intervals": True}
    made = Subject(model.config, model.module, model.tokenizer, model.mesh, **with_intervals)
    return made, model.params


BAD = [
    ("probe", {"kinds": ("leaf",)}, "no labels of kind 'leaf'; it has group, subgroup"),
    ("probe", {"protocol": "sgd"}, "protocol='sgd' is one of l2, adamw"),
    ("probe", {"kinds": ("group",), "shots": (900,)}, "900 shots: a class has only"),
    ("probe", {"train": SPLIT}, "is what it trains on"),
    ("clustering", {"seeds": 0}, "seeds=0"),
    ("arithmetic", {"changes": "no.tsv"}, "changes=FILE and kind"),
    ("arithmetic", {"changes": "no.tsv", "kind": "group"}, "no.tsv: not a readable text"),
    ("arithmetic", {"scales": (1.0, float("inf"))}, "scales=(1.0, inf) are finite"),
    ("object_bias", {"thing": "group"}, "thing and attribute, two kinds"),
    ("text_similarity", {}, "text_similarity needs pairs=FILE"),
    ("perturbation", {"sizes": (0.0,)}, "are above 0"),
    ("perturbation", {"kinds": ("leaf",)}, "no labels of kind 'leaf'"),
]


@pytest.mark.parametrize(("name", "options", "words"), BAD)
def test_bad_input_is_one_line(name, options, words, subject):
    model, params = subject
    with pytest.raises(AligngapError) as error:
        dict(evaluator.build(name, configs.evaluator(name, **options), SPLIT, model)(params))
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_split_without_variants_is_told(subject):
    with pytest.raises(UsageError, match="object_bias: colour of flags has no two"):
        evaluator.build("object_bias", configs.evaluator("object_bias"), "flags", subject[0])


def test_bias_is_measured_only_where_there_is_something_to_compare(subject):
    """Of validation's colours only hearts have several."""
    entry = configs.evaluator("object_bias")
    assert {*evaluator.build("object_bias", entry, "validation", subject[0]).found} == {"gender"}
    changed = configs.evaluator("arithmetic")
    assert {*evaluator.build("arithmetic", changed, "validation", subject[0]).problems} == {
        *("colour", "gender")
    }


class Bare(Corpus):
    """Images and captions alone."""

    splits = (Split("test", "test"),)

    def open(self, split):
        return []


def test_a_corpus_without_labels_is_told(subject):
    data = dataclasses.replace(subject[0].eval_set(SPLIT), corpus=Bare(Path()))
    with pytest.raises(UsageError, match="probe needs classes, and bare has no labels of any kind"):
        labelled.kinds(data, (), "probe")
    with pytest.raises(UsageError, match="needs one thing with several values"):
        variants.find(data, "", "", "arithmetic")
