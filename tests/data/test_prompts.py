"""Prompts and class names of the pinned wheel, against open_clip's and TFDS's own labels."""

import ast
import json

import pytest
import tensorflow_datasets as tfds

from aligngap.data import fetch, prompts
from aligngap.data.corpora import imagenet_names, tfds_features
from aligngap.data.tokenizers.clip import WHEEL as OPEN_CLIP
from aligngap.errors import UsageError

pytestmark = pytest.mark.corpus
# Where CLIP_benchmark says more than TFDS's label: its class by its place, which no word shows.
OTHER_WORDS = {"svhn_cropped", "patch_camelyon", "dmlab", "diabetic_retinopathy_detection"}


def of_open_clip(data_dir, variable):
    """The value of a variable of open_clip's module; its templates are functions of a name."""
    source = fetch.read_member(
        fetch.wheel(OPEN_CLIP, fetch.downloads(data_dir)), imagenet_names.MEMBER
    )
    nodes = [node for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    (found,) = (node.value for node in nodes if ast.unparse(node.targets[0]) == variable)
    return found


def test_imagenets_are_those_of_open_clip(clip_dir):
    functions = of_open_clip(clip_dir, "OPENAI_IMAGENET_TEMPLATES").elts
    texts = [
        "".join("{c}" if isinstance(x, ast.FormattedValue) else x.value for x in f.body.values)
        for f in functions
    ]
    assert prompts.templates("imagenet1k", "en", clip_dir) == texts
    assert len(texts) == 80
    names = ast.literal_eval(of_open_clip(clip_dir, "IMAGENET_CLASSNAMES"))
    assert prompts.class_names("imagenet1k", "en", clip_dir) == list(names)


def test_there_are_as_many_sets_as_published(pictograms_dir):
    for member, count in (("classnames", 17), ("zeroshot_classification_templates", 33)):
        found = json.loads(prompts.member(f"en_{member}.json", pictograms_dir))
        assert len(found) == count
    for language in ("ar", "cn", "it", "jp"):
        assert len(prompts.class_names("imagenet1k", language, pictograms_dir)) == 1000
        assert all(
            "{c}" in text for text in prompts.templates("imagenet1k", language, pictograms_dir)
        )


@pytest.mark.parametrize("name", [n for n, found in prompts.SETS.items() if found.classes])
def test_class_names_stand_in_the_order_of_tfds_labels(name, pictograms_dir, tmp_path):
    found = prompts.class_names(prompts.SETS[name].classes, "en", pictograms_dir)
    labels = tfds.builder_cls(name)(data_dir=tmp_path).info.features["label"].names
    assert len(found) == len(labels)
    if name in OTHER_WORDS:
        return
    if name.startswith("imagenet"):
        own = imagenet_names.read(pictograms_dir, name)
        assert found == [own[label] for label in labels]
        return
    shared = [
        _stems(label) & _stems(text) != set() for label, text in zip(labels, found, strict=True)
    ]
    assert sum(shared) >= 0.9 * len(found) or name == "eurosat"
    for shift in (1, -1):  # Another order would share hardly a word.
        moved = found[shift:] + found[:shift]
        other = [_stems(a) & _stems(b) != set() for a, b in zip(labels, moved, strict=True)]
        assert sum(other) < 0.6 * sum(shared)


def _stems(text):
    spaced = "".join(f" {x}" if x.isupper() else x for x in text)
    return {word[:4].lower() for word in tfds_features.called(spaced)[0].split()}


@pytest.mark.parametrize(
    ("name", "has", "lacks"),
    [("imagenet_a", "n01498041", "n01440764"), ("imagenet_r", "n01443537", "n01440764")],
)
def test_masks_hold_200_of_imagenets_classes(name, has, lacks, clip_dir):
    found = imagenet_names.held(clip_dir, name)
    assert len(found) == 200
    assert found < set(imagenet_names.read(clip_dir, name))
    assert has in found and lacks not in found
    assert imagenet_names.held(clip_dir, "imagenet_v2") is None


def test_templates_of_ones_own(tmp_path):
    file = tmp_path / "own.json"
    file.write_text(json.dumps(["a sketch of a {c}.", "{c}"]))
    given = prompts.templates(str(file), "en", tmp_path)
    assert prompts.texts(given, "sea_horse", ["sea horse"]) == [
        "a sketch of a sea horse.",
        "sea horse",
    ]
    assert prompts.templates("my {c}", "en", tmp_path) == ["my {c}"]
    file.write_text(json.dumps({"sea horse": ["it swims", "it curls"], "cat": []}))
    given = prompts.templates(str(file), "en", tmp_path)
    assert prompts.texts(given, "sea_horse", ["sea horse"]) == ["it swims", "it curls"]
    with pytest.raises(UsageError, match="no text for the class 'cat'"):
        prompts.texts(given, "cat", ["cat"])
    assert prompts.texts(["{c.__class__}{c}"], "x", ["{c}"]) == ["{c.__class__}{c}"]


@pytest.mark.parametrize("content", ["", "3", "[]", "{}", '["a photo"]', '{"cat": "a cat"}', "[3]"])
def test_a_file_of_another_form_is_told(content, tmp_path):
    file = tmp_path / "own.json"
    file.write_text(content)
    with pytest.raises(UsageError, match=r"own\.json"):
        prompts.templates(str(file), "en", tmp_path)


def test_an_unknown_name_lists_the_known(pictograms_dir):
    with pytest.raises(UsageError, match="one of cifar10, cifar100"):
        prompts.templates("cifar_10", "en", pictograms_dir)
    with pytest.raises(UsageError, match="language=de: one of en"):
        prompts.class_names("mnist", "de", pictograms_dir)


def test_what_tfds_calls_classes_in_words():
    for name, wanted in {
        "sea_horse": ("sea horse",),
        "tench, Tinca tinca": ("tench", "Tinca tinca"),
        "/c/cabin/outdoor": ("cabin outdoor",),
        "Acura TL Type-S 2008": ("Acura TL Type-S 2008",),
        "ice-cream": ("ice cream",),
        "": ("",),
    }.items():
        assert tfds_features.called(name) == wanted
