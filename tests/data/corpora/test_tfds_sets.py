"""Sets of TensorFlow Datasets by name, of the layouts that TFDS gives the real ones."""

import io
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from aligngap.config import default
from aligngap.data import corpora, eval_set, fetch, inputs
from aligngap.data.corpora import imagenet_names, tfds_features
from aligngap.data.corpora.tfds_sets import TfdsSet
from aligngap.errors import AligngapError, UsageError

import layouts

pytestmark = pytest.mark.corpus


@pytest.fixture(scope="module")
def written(pictograms_dir, tmp_path_factory):
    """(the folder, what each set in it was written from)."""
    folder = tmp_path_factory.mktemp("sets")
    records = layouts.drawings(pictograms_dir)
    found = {
        "cifar10": layouts.cifar10(folder, records),
        "coco_captions/2014": layouts.coco_captions(folder, records),
        "imagenet2012": layouts.of_builder(folder, "imagenet2012", records),
        "oxford_flowers102": layouts.of_builder(folder, "oxford_flowers102", records),
    }
    return folder, found


@pytest.fixture
def copied(written, tmp_path):
    """A copy of cifar10, to be damaged: (data_dir, its folder)."""
    folder = shutil.copytree(written[0] / "cifar10", tmp_path / "cifar10") / "3.0.2"
    return tmp_path, folder


def a_config(data_dir, corpus="cifar10", **data):
    config = default()
    config.data.update(corpus=corpus, data_dir=str(data_dir), **data)
    return config


def one_line(error, caught):
    line = str(caught.value)
    assert type(caught.value) is error
    assert "\n" not in line
    return line


def refused(error, function, *given):
    with pytest.raises(AligngapError) as caught:
        function(*given)
    return one_line(error, caught)


# Records.


def test_a_labelled_image_is_called_as_its_class(written):
    folder, examples = written
    corpus = corpora.find("cifar10", folder)
    assert isinstance(corpus, TfdsSet)
    assert [(split.name, split.role) for split in corpus.splits] == [
        ("train", "train"),
        ("test", "test"),
    ]
    source = corpus.open("test")
    assert len(source) == 40
    for row, example in enumerate(examples["cifar10"]["test"]):
        record = source[row]
        assert record.image == example["image"]
        assert record.labels == {"label": layouts.CIFAR10[example["label"]]}
        assert record.captions == (layouts.CIFAR10[example["label"]],)
        assert record.name == example["id"]
        assert record.group is None
    assert corpus.classes("label") == {name: (name,) for name in layouts.CIFAR10}
    assert (corpus.kinds, corpus.unfit) == (("label",), ("retrieval", "search"))


def test_the_pixels_are_those_that_tfds_decodes(written):
    folder, _ = written
    builder = tfds.builder_from_directory(folder / "cifar10" / "3.0.2")
    decoded = builder.as_data_source("train")
    source = corpora.find("cifar10", folder).open("train")
    for row in (0, 31, 59):
        pixels = np.asarray(Image.open(io.BytesIO(source[row].image)))
        np.testing.assert_array_equal(pixels, decoded[row]["image"])


@pytest.mark.parametrize(
    "name", ["coco_captions/2014", "coco_captions", "coco_captions/2014:1.*.*"]
)
def test_coco_has_its_captions_and_splits(name, written):
    folder, examples = written
    corpus = corpora.find(name, folder)
    roles = {split.name: split.role for split in corpus.splits}
    assert roles == {"train": "train", "val": "validation", "test": "test", "restval": "other"}
    assert (corpus.kinds, corpus.unfit, corpus.captions_are_names) == ((), (), False)
    for split, wanted in examples["coco_captions/2014"].items():
        source = corpus.open(split)
        assert len(source) == len(wanted)
        for row, example in enumerate(wanted):
            record = source[row]
            texts = [caption["text"].strip() for caption in example["captions"]]
            assert (record.image, record.captions) == (example["image"], tuple(texts))
            assert record.name == example["image/filename"]


def test_names_of_classes_are_words(written):
    folder, examples = written
    flowers = corpora.find("oxford_flowers102", folder)
    assert flowers.classes("label")["hard-leaved pocket orchid"] == ("hard-leaved pocket orchid",)
    assert list(flowers.classes("label"))[:2] == ["pink primrose", "hard-leaved pocket orchid"]
    names = {record.name for record in map(flowers.open("validation").__getitem__, range(10))}
    assert names == {
        example["file_name"] for example in examples["oxford_flowers102"]["validation"]
    }


def test_several_names_of_a_class_and_a_coarser_kind(written, tmp_path):
    label = tfds.features.ClassLabel
    features = {
        "image": tfds.features.Image(),
        "coarse_label": label(names=["fish", "sea_life"]),
        "label": label(names=["tench, Tinca tinca", "sea_horse"]),
        "mask": tfds.features.Image(shape=(None, None, 1)),
        "score": np.float32,
    }
    png = written[1]["cifar10"]["train"][0]["image"]
    other = {"mask": png, "score": 0.5}
    rows = [{"image": png, "coarse_label": n, "label": n, **other} for n in (0, 1)]
    layouts.write(tmp_path, "my_fish:1.0.0", features, {"train": rows, "test": rows})
    corpus = corpora.find("my_fish", tmp_path)
    source = corpus.open("test")
    assert source[0].captions == ("tench", "Tinca tinca")
    assert source[1].captions == ("sea horse",)
    assert source[1].labels == {"coarse_label": "sea_life", "label": "sea_horse"}
    assert corpus.classes("coarse_label") == {"fish": ("fish",), "sea_life": ("sea life",)}
    data = eval_set.read(a_config(tmp_path, "my_fish"), "test")
    assert data.texts == ["tench", "sea horse"]


@pytest.mark.parametrize(
    ("feature", "given", "wanted"),
    [
        (tfds.features.Text(), "a  red\nfish", ("a red fish",)),
        (tfds.features.Sequence(tfds.features.Text()), ["one", " ", "two"], ("one", "two")),
        (
            {"raw": tfds.features.Text(), "url": tfds.features.Text()},
            {"raw": "x", "url": "u"},
            ("x",),
        ),
    ],
)
def test_forms_of_captions(feature, given, wanted, written, tmp_path):
    png = written[1]["cifar10"]["train"][0]["image"]
    features = {"picture": tfds.features.Image(), "caption": feature, "id": np.int64}
    examples = {"train": [{"picture": png, "caption": given, "id": 7}]}
    layouts.write(tmp_path, "mine:1.0.0", features, examples)
    record = corpora.find("mine", tmp_path).open("train")[0]
    assert (record.captions, record.name, record.image) == (wanted, "7", png)


# ImageNet.


@pytest.fixture
def imagenet(written, clip_dir, tmp_path):
    """A data_dir with ImageNet's layout and open_clip's wheel, which has the names."""
    shutil.copytree(written[0] / "imagenet2012", tmp_path / "imagenet2012")
    downloads = fetch.downloads(tmp_path)
    downloads.mkdir(parents=True)
    wheel = next(fetch.downloads(clip_dir).glob(imagenet_names.WHEEL.pattern))
    shutil.copy(wheel, downloads)
    return tmp_path


def test_imagenets_classes_have_the_names_that_clip_was_published_with(imagenet):
    corpus = corpora.find("imagenet2012:5.1.0", imagenet)
    classes = corpus.classes("label")
    assert len(classes) == 1000
    assert next(iter(classes.items())) == ("n01440764", ("tench",))
    assert classes["n02510455"] == ("giant panda",)
    assert classes["n15075141"] == ("toilet paper",)
    source = corpus.open("validation")
    assert source[0].labels == {"label": list(classes)[70]}
    assert source[0].captions == ("harvestman",)
    assert {entry.licence for entry in corpus.licences()} >= {"MIT"}
    corpus.prepare()


def test_without_their_names_imagenets_classes_are_not_used(written):
    folder, _ = written
    line = refused(AligngapError, corpora.find("imagenet2012", folder).open, "validation")
    assert f"run `aligngap prepare --corpus=imagenet2012 --data_dir={folder}`" in line


def test_withheld_labels_are_told(imagenet):
    source = corpora.find("imagenet2012", imagenet).open("test")
    line = refused(AligngapError, source.__getitem__, 3)
    assert "image_00023.jpg of imagenet2012 has no label (-1)" in line


# Splits.


def test_slices_and_sums_are_splits(written):
    folder, examples = written
    corpus = corpora.find("cifar10", folder)
    train = examples["cifar10"]["train"]
    parts = [corpus.open("train[:95%]"), corpus.open("train[95%:]")]
    assert [len(part) for part in parts] == [57, 3]
    rows = [part[row].name for part in parts for row in range(len(part))]
    assert rows == [example["id"] for example in train]
    assert parts[0].version != parts[1].version
    assert corpus.split("train[95%:]").role == "train"
    karpathy = corpora.find("coco_captions", folder).open("train+restval")
    assert len(karpathy) == 100


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("tset", "unknown split 'tset' of cifar10: one of train, test"),
        ("tset[:5]", "unknown split 'tset[:5]' of cifar10: one of train, test"),
        ("train[:900]", "split 'train[:900]' of cifar10: Requested slice"),
        ("train[:x]", "split 'train[:x]' of cifar10"),
        ("train[50%:10%]", "is empty"),
    ],
)
def test_what_is_no_split_is_one_line(split, words, written):
    assert words in refused(UsageError, corpora.find("cifar10", written[0]).split, split)


def test_what_to_do_without_a_validation_split(written):
    folder, _ = written
    line = refused(UsageError, corpora.validation_split, a_config(folder))
    assert "cifar10 has no split for validation" in line
    assert "--config.data.train_split='train[:95%]'" in line
    assert "--config.data.validation_split='train[95%:]'" in line
    config = a_config(folder, train_split="train[:95%]", validation_split="train[95%:]")
    assert len(corpora.open_train(config)) == 57
    corpus, split = corpora.named(config, "coco_captions/2014/val[:10]")
    assert (corpus.name, len(corpus.open(split))) == ("coco_captions/2014", 10)


def test_a_split_is_named_for_embedding(written):
    folder, examples = written
    where = inputs.Where(folder, 0)
    pictures = inputs.images("cifar10/test[:5]", where)
    texts = inputs.texts("coco_captions/2014/val", where)
    wanted = examples["cifar10"]["test"][4]
    assert pictures.ids[4] == f"test[:5]/4/{wanted['id']}"
    assert pictures.read(4) == wanted["image"]
    assert len(texts.ids) == 30
    assert texts.read(0).startswith("A drawing of ")
    missing = refused(AligngapError, inputs.images, "cifar100/test", where)
    assert "tfds build cifar100" in missing


def test_a_split_can_be_sent_to_a_process_without_tensorflow(written, tmp_path):
    folder, examples = written
    source = corpora.find("coco_captions", folder).open("val")
    (tmp_path / "source.pickle").write_bytes(pickle.dumps(source))
    code = (
        "import pickle, sys; from pathlib import Path;"
        f"source = pickle.loads(Path({str(tmp_path / 'source.pickle')!r}).read_bytes());"
        "print(source[3].name); assert 'tensorflow' not in sys.modules"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == examples["coco_captions/2014"]["val"][3]["image/filename"]


# What is not there, or not as it should be.


def test_a_missing_set_is_told_with_the_command_that_makes_it(written):
    folder, _ = written
    command = f"--data_dir={folder} --file_format=array_record`"
    line = refused(AligngapError, corpora.find, "cifar100", folder)
    assert f"cifar100 is missing in {folder}: run `tfds build cifar100 {command}" in line
    line = refused(AligngapError, corpora.find, "cifar10:2.0.0", folder)
    assert "(which has 3.0.2 of cifar10)" in line
    (folder / "coco_captions" / "incomplete.ABCDEF_2017").mkdir()
    line = refused(AligngapError, corpora.find, "coco_captions/2017", folder)
    assert "(which has 2014 of coco_captions)" in line


def test_an_unknown_name_is_told_with_what_is_near(written):
    line = refused(UsageError, corpora.find, "cifar_10", written[0])
    assert (
        "unknown corpus 'cifar_10': one of pictograms, stamps, openclipart, a set of TFDS" in line
    )
    assert "near to it: cifar10" in line
    assert not corpora.known("photos", written[0])


def test_another_format_is_told_with_the_command_that_converts(copied):
    data_dir, folder = copied
    for shard in folder.glob("*array_record*"):
        shard.rename(folder / shard.name.replace("array_record", "tfrecord"))
    info = json.loads((folder / "dataset_info.json").read_text())
    info["fileFormat"] = "tfrecord"
    (folder / "dataset_info.json").write_text(json.dumps(info))
    line = refused(AligngapError, corpora.find, "cifar10", data_dir)
    assert f"cifar10 is in {folder} as tfrecord" in line
    given = f"--dataset_version_dir={folder} --out_file_format=array_record"
    assert f"`tfds convert_format {given}`" in line
    # What `tfds convert_format` leaves: the shards beside those of the first format.
    for shard in list(folder.glob("*tfrecord*")):
        shutil.copy(shard, folder / shard.name.replace("tfrecord", "array_record"))
    info["alternativeFileFormats"] = ["array_record"]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    source = pickle.loads(pickle.dumps(corpora.find("cifar10", data_dir).open("test")))
    assert source[0].captions == ("airplane",)


def test_a_damaged_set_is_told(copied):
    data_dir, folder = copied
    corpus = corpora.find("cifar10", data_dir)
    shard = next(folder.glob("*-test.array_record*"))
    whole = shard.read_bytes()
    command = "delete it and run `tfds build cifar10"
    for content, words in ((whole[:-900], "cannot be read"), (b"", "cannot be read")):
        shard.write_bytes(content)
        line = refused(AligngapError, corpus.open, "test[:5]")
        assert words in line
        assert command in line
    shard.unlink()
    assert f"{shard.name} is missing" in refused(AligngapError, corpus.prepare)
    assert len(corpus.open("train")) == 60
    (folder / "dataset_info.json").write_text('{"na')
    line = refused(AligngapError, corpora.find, "cifar10:3.0.2", data_dir)
    assert f"{data_dir / 'cifar10'} is damaged" in line
    assert command in line


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ({"text": tfds.features.Text()}, "it has no image, but text (Text)"),
        ({"image": tfds.features.Image()}, "neither captions nor classes, but image (Image)"),
        (
            {"left": tfds.features.Image(), "right": tfds.features.Image()},
            "several images (left, right), none of them called image",
        ),
    ],
)
def test_a_set_that_is_no_pairs_is_told(features, words, written, tmp_path):
    png = written[1]["cifar10"]["train"][0]["image"]
    example = {key: "x" if key == "text" else png for key in features}
    layouts.write(tmp_path, "odd:1.0.0", features, {"train": [example]})
    assert words in refused(UsageError, corpora.find, "odd", tmp_path)


def test_in_whatever_order_tfds_restores_the_features_captions_have_one():
    text, label = tfds.features.Text(), tfds.features.ClassLabel(names=["x", "y"])
    features = {"image": tfds.features.Image(), "text": text, "caption": text}
    features |= {"sentences": {"raw": text, "caption": text}, "kind": label, "label": label}
    for order in (sorted(features), sorted(features, reverse=True)):
        given = {key: features[key] for key in order}
        found = tfds_features.reader("x", tfds.features.FeaturesDict(given))
        wanted = (("caption",), ("sentences", "caption"), ("sentences", "raw"), ("text",))
        assert (found.captions, list(found.classes)) == (wanted, ["kind", "label"])


def test_depths_are_no_images():
    features = {"depth": tfds.features.Image(shape=(8, 8, 1), dtype=np.float32)}
    line = refused(UsageError, tfds_features.reader, "rooms", tfds.features.FeaturesDict(features))
    assert "rooms cannot be used: it has no image, but depth (Image)" in line


# What CLIP_benchmark knows of a set.


def test_imagenet_r_has_the_classes_that_it_holds(pictograms_dir, tmp_path):
    (tmp_path / "downloads").symlink_to(pictograms_dir / "downloads")
    features = tfds.builder_cls("imagenet_r")(data_dir=tmp_path).info.features
    record = layouts.drawings(pictograms_dir)[0]
    image = layouts.encoded(record.image, "JPEG", 32)
    example = {"image": image, "label": 1, "file_name": "n01443537/art_0.jpg"}
    layouts.write(tmp_path, "imagenet_r:0.2.0", features, {"test": [example]})
    corpus = corpora.find("imagenet_r", tmp_path)
    imagenet_names.prepare(tmp_path)
    classes = corpus.classes("label")
    assert len(corpus._reader.classes["label"]) == 1000 and len(classes) == 200
    assert classes["n01443537"] == ("goldfish",) and "n01440764" not in classes
    assert (corpus.benchmark.name, corpus.benchmark.prompts) == ("imagenet-r", "imagenet1k")
    assert {licence.source for licence in corpus.licences()} >= {"clip-benchmark"}


def test_a_set_that_clip_benchmark_does_not_know_has_no_prompts(pictograms_dir, tmp_path):
    features = {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=["a", "b"])}
    record = layouts.drawings(pictograms_dir)[0]
    example = {"image": layouts.encoded(record.image, "PNG", 16), "label": 1}
    layouts.write(tmp_path, "mine:1.0.0", features, {"test": [example]})
    corpus = corpora.find("mine", tmp_path)
    assert corpus.benchmark.prompts == ""
    assert corpus.classes("label") == {"a": ("a",), "b": ("b",)}
