"""The pictograms corpus as built, and how a missing, half-built or damaged one is met."""

import io
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aligngap.data import corpora, fetch, sentences
from aligngap.data.corpora import pictogram_splits as splits
from aligngap.data.corpora.pictogram_concepts import EMOJILIB
from aligngap.data.corpora.pictogram_rendering import render, render_all
from aligngap.data.corpora.pictogram_sources import DRAWING_SETS
from aligngap.data.corpora.pictogram_splits import concept_group, split_of
from aligngap.errors import AligngapError, UsageError

CORPUS = "pictograms"
TESTS = (splits.UNSEEN_STYLE, splits.UNSEEN_CONCEPT, splits.UNSEEN_BOTH)
TRAIN_SHARD = "pictograms-train.array_record-00000-of-00001"


@pytest.fixture(scope="module")
def records(pictograms_dir):
    """Split → all that the builder wrote of it."""
    corpus = corpora.find(CORPUS, pictograms_dir)
    sources = {split: corpus.open(split).raw for split in splits.SPLITS}
    return {split: [source[i] for i in range(len(source))] for split, source in sources.items()}


def distinct(records, key):
    return {record[key] for record in records}


# The rule, on names alone.


@pytest.mark.parametrize(
    ("group", "labels"),
    [
        ("health worker", ["health worker", "man health worker", "woman health worker"]),
        ("running", ["person running", "man running", "woman running: facing right"]),
        ("person", ["person", "man", "woman", "boy", "girl", "child"]),
        ("person", ["man: red hair", "woman: curly hair", "person: bald", "man: beard"]),
        ("old", ["older person", "old man", "old woman"]),
        ("merperson", ["merperson", "merman", "mermaid"]),
        ("with crown", ["person with crown", "prince", "princess"]),
        ("family", ["family", "family: man, woman, boy", "family: adult, child"]),
        ("kiss", ["kiss", "kiss: woman, man", "kiss: man, man"]),
        ("couple with heart", ["couple with heart", "couple with heart: woman, woman"]),
        ("holding hands", ["people holding hands", "woman and man holding hands"]),
        ("clock", ["one o'clock", "twelve o'clock", "seven-thirty"]),
        ("keycap", ["keycap: #", "keycap: *", "keycap: 10"]),
        ("cat", ["cat", "cat face"]),
        ("black square", ["black small square", "black medium-small square"]),
    ],
)
def test_variants_of_one_thing_are_one_group(group, labels):
    assert {label: concept_group(label) for label in labels} == dict.fromkeys(labels, group)


def test_different_things_stay_apart():
    labels = ["grinning face", "cat with wry smile", "kiss mark", "kissing face", "alarm clock"]
    labels += ["man's shoe", "woman's hat", "hot face", "cold face", "black circle", "familyless"]
    assert len({concept_group(label) for label in labels}) == len(labels)


def test_families_and_groups_decide_the_split():
    fates = {split_of(f"group {i}", "objects", "twemoji"): f"group {i}" for i in range(50)}
    assert set(fates) == {splits.TRAIN, splits.VALIDATION, splits.UNSEEN_CONCEPT}
    held_out = {fate: split_of(g, "objects", "openmoji") for fate, g in fates.items()}
    assert held_out == {
        splits.TRAIN: splits.UNSEEN_STYLE,
        splits.VALIDATION: None,
        splits.UNSEEN_CONCEPT: splits.UNSEEN_BOTH,
    }
    assert split_of(fates[splits.TRAIN], "flags", "openmoji") == splits.FLAGS


def test_rendering_is_on_white_and_tells_blanks():
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64" viewBox="0 0 2 2">{}</svg>'
    )
    red_half = svg.format('<path fill="red" d="M0 0h1v2H0z"/>')
    image = np.asarray(Image.open(io.BytesIO(render(red_half))))
    assert (image[:, :32] == [255, 0, 0]).all()
    assert (image[:, 32:] == 255).all()
    assert render(svg.format("")) is None
    assert render_all([svg.format(""), red_half] * 40, "Rendering") == [None, render(red_half)] * 40


# The corpus as it lies on the disk.


@pytest.mark.corpus
def test_no_concept_group_is_in_two_of_train_validation_and_test(records):
    where = defaultdict(set)
    for split, members in records.items():
        fate = "test" if split in (splits.UNSEEN_CONCEPT, splits.UNSEEN_BOTH) else split
        fate = splits.TRAIN if split == splits.UNSEEN_STYLE else fate
        for group in distinct(members, "concept_group"):
            where[group].add(fate)
    assert [group for group, fates in where.items() if len(fates) > 1] == []


@pytest.mark.corpus
def test_the_held_out_family_is_only_in_its_splits(records):
    families = {split: distinct(members, "family") for split, members in records.items()}
    others = {s.family.encode() for s in DRAWING_SETS} - {b"openmoji"}
    assert families[splits.TRAIN] == others
    assert families[splits.VALIDATION] <= others
    assert families[splits.UNSEEN_CONCEPT] <= others
    assert families[splits.UNSEEN_STYLE] == families[splits.UNSEEN_BOTH] == {b"openmoji"}


@pytest.mark.corpus
def test_an_unseen_style_shows_only_trained_concepts(records):
    trained = distinct(records[splits.TRAIN], "concept")
    assert distinct(records[splits.UNSEEN_STYLE], "concept") <= trained
    assert not distinct(records[splits.UNSEEN_BOTH], "concept") & trained


@pytest.mark.corpus
def test_no_name_and_no_pixels_are_shared_by_two_groups(records):
    names, pixels = defaultdict(set), defaultdict(set)
    for record in (record for members in records.values() for record in members):
        for name in record["captions"][: record["num_names"]]:
            names[name.decode().lower()].add(record["concept_group"])
        pixels[record["image"]].add(record["concept_group"])
    assert [name for name, groups in names.items() if len(groups) > 1] == []
    assert [groups for groups in pixels.values() if len(groups) > 1] == []


@pytest.mark.corpus
def test_the_splits_have_their_sizes(records):
    concepts = {split: len(distinct(members, "concept")) for split, members in records.items()}
    groups = {s: len(distinct(records[s], "concept_group")) for s in records}
    held_in = groups[splits.TRAIN], groups[splits.VALIDATION], groups[splits.UNSEEN_CONCEPT]
    np.testing.assert_allclose(np.array(held_in) / sum(held_in), [0.7, 0.1, 0.2], atol=0.02)
    assert 280 <= concepts[splits.UNSEEN_CONCEPT] <= 340
    assert concepts[splits.UNSEEN_BOTH] == concepts[splits.UNSEEN_CONCEPT]
    assert len(records[splits.TRAIN]) > 9000
    assert len(records[splits.UNSEEN_BOTH]) == concepts[splits.UNSEEN_BOTH]
    assert distinct(records[splits.FLAGS], "group") == {b"flags"}
    assert all(b"flags" not in distinct(records[s], "group") for s in records if s != splits.FLAGS)


@pytest.mark.corpus
def test_every_image_is_64_by_64_rgb_and_shows_something(records):
    for record in (record for members in records.values() for record in members):
        image = Image.open(io.BytesIO(record["image"]))
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (64, 64))
        assert image.getcolors(maxcolors=1) is None, record["concept"]


@pytest.mark.corpus
def test_captions_begin_with_the_label_and_are_distinct(records):
    for record in (record for members in records.values() for record in members):
        captions = [caption.decode() for caption in record["captions"]]
        assert 1 <= record["num_names"] <= len(captions)
        assert len({caption.lower() for caption in captions}) == len(captions)
        assert all(re.match(r"\w", caption) and "_" not in caption for caption in captions)
    skull = next(r for r in records[splits.TRAIN] if r["concept"] == b"1F480")
    assert skull["captions"][0] == b"skull"
    assert {b"halloween", b"dead"} <= set(skull["captions"][skull["num_names"] :])
    assert (skull["group"], skull["subgroup"]) == (b"smileys-emotion", b"face-negative")


@pytest.mark.corpus
def test_renderings_of_a_concept_agree_on_everything_but_the_drawing(records):
    first, drawn = {}, Counter()
    for record in (record for members in records.values() for record in members):
        of_concept = {k: record[k] for k in ("captions", "num_names", "concept_group", "group")}
        assert first.setdefault(record["concept"], of_concept) == of_concept
        drawn[record["concept"], record["drawing_set"]] += 1
    assert set(drawn.values()) == {1}


@pytest.mark.corpus
def test_each_record_has_the_licence_of_its_set(records):
    licences = {s.name.encode(): s.licence.encode() for s in DRAWING_SETS}
    found = {(r["drawing_set"], r["licence"]) for members in records.values() for r in members}
    assert found == set(licences.items())
    of_corpus = corpora.find(CORPUS, Path()).licences()
    listed = {licence.source: licence.licence for licence in of_corpus}
    assert {name.decode(): licence.decode() for name, licence in licences.items()}.items() <= (
        listed.items()
    )
    assert listed["emojibase-data"] == listed["emojilib"] == "MIT"


@pytest.mark.corpus
def test_semantics_are_the_unit_embeddings_of_the_label(records, pictograms_dir):
    every = [record for members in records.values() for record in members]
    norms = np.linalg.norm([record["semantics"] for record in every], axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-5)
    some = every[:: len(every) // 12]
    assert some[0]["semantics"].dtype == np.float32
    encoder = sentences.load("minilm", pictograms_dir)
    again = encoder.embed([record["captions"][0].decode() for record in some])
    np.testing.assert_allclose(again, [record["semantics"] for record in some], atol=1e-4)


@pytest.mark.corpus
def test_a_concept_has_one_number_and_a_number_one_concept(records):
    every = [record for members in records.values() for record in members]
    pairs = {(record["concept"], int(record["concept_number"])) for record in every}
    concepts, numbers = zip(*pairs, strict=True)
    assert len(pairs) == len(set(concepts)) == len(set(numbers))


@pytest.mark.corpus
def test_a_record_is_what_the_builder_wrote(records, pictograms_dir):
    source = corpora.find(CORPUS, pictograms_dir).open(splits.UNSEEN_BOTH)
    for row in range(0, len(source), 20):
        raw, record = records[splits.UNSEEN_BOTH][row], source[row]
        texts = record.captions + record.keywords
        assert [text.encode() for text in texts] == list(raw["captions"])
        assert len(record.captions) == raw["num_names"]
        assert record.image == raw["image"]
        assert record.group == raw["concept_number"]
        assert record.labels == {k: raw[k].decode() for k in ("group", "subgroup")}
        np.testing.assert_array_equal(record.semantics, raw["semantics"])


@pytest.mark.corpus
def test_classes_are_those_of_the_tests_with_their_words(records, pictograms_dir):
    corpus = corpora.find(CORPUS, pictograms_dir)
    wanted = {r["group"].decode() for split in TESTS for r in records[split]}
    found = corpus.classes("group")
    assert set(found) == wanted
    assert found["food-drink"] == ["food drink", "food", "drink"]
    assert found["objects"] == ["objects"]


@pytest.mark.corpus
def test_a_split_can_be_sent_to_another_process(pictograms_dir):
    source = corpora.find(CORPUS, pictograms_dir).open(splits.VALIDATION)
    sent = pickle.loads(pickle.dumps(source))
    assert len(sent) == len(source)
    assert sent[7].image == source[7].image


# A complete corpus, and incomplete ones.


@pytest.fixture
def copied(pictograms_dir, tmp_path):
    """A data_dir with the corpus as hard links or copies, and the folder of the corpus in it."""
    original = next((pictograms_dir / CORPUS).glob("[0-9]*"))
    folder = tmp_path / CORPUS / original.name
    shutil.copytree(original, folder, copy_function=_link)
    return tmp_path, folder


def _link(source, destination):
    try:
        os.link(source, destination)
    except OSError:  # another file system
        shutil.copy(source, destination)


def replaced(path, content):
    """Writes anew: a hard link's other name keeps its content."""
    path.unlink()
    path.write_bytes(content)


@pytest.mark.corpus
def test_preparing_a_complete_corpus_returns_at_once(pictograms_dir, capsys):
    corpora.find(CORPUS, pictograms_dir).open(splits.FLAGS)  # what there is to import is imported
    before = {path: path.stat().st_mtime_ns for path in (pictograms_dir / CORPUS).rglob("*")}
    started = time.monotonic()
    corpora.find(CORPUS, pictograms_dir).prepare()
    assert time.monotonic() - started < 5
    assert "already" in capsys.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in (pictograms_dir / CORPUS).rglob("*")} == before


def damaged(data_dir, split=splits.TRAIN):
    with pytest.raises(AligngapError) as caught:
        corpora.find(CORPUS, data_dir).open(split)
    line = str(caught.value)
    assert "\n" not in line
    assert f"aligngap prepare --corpus=pictograms --data_dir={data_dir}" in line
    assert caught.value.exit_code == 1
    return line


@pytest.mark.corpus
def test_a_damaged_corpus_is_told_and_not_overwritten(copied):
    data_dir, folder = copied
    shard = folder / TRAIN_SHARD
    whole = shard.read_bytes()
    replaced(shard, whole[:-1000])
    assert f"{TRAIN_SHARD} cannot be read): delete it" in damaged(data_dir)
    replaced(shard, b"")
    assert f"{TRAIN_SHARD} cannot be read" in damaged(data_dir)
    replaced(shard, (folder / TRAIN_SHARD.replace("train", "flags")).read_bytes())
    assert "records instead of" in damaged(data_dir)
    shard.unlink()
    assert f"{TRAIN_SHARD} is missing" in damaged(data_dir)
    with pytest.raises(AligngapError, match="is missing"):
        corpora.find(CORPUS, data_dir).prepare()
    assert not shard.exists()
    assert len(corpora.find(CORPUS, data_dir).open(splits.FLAGS)) > 1000
    replaced(folder / "dataset_info.json", b'{"na')
    damaged(data_dir, splits.FLAGS)


def test_a_missing_or_half_built_corpus_is_told_apart(tmp_path):
    assert "pictograms is missing" in damaged(tmp_path)
    (tmp_path / CORPUS / "incomplete.ABCDEF_1.1.0").mkdir(parents=True)
    assert "pictograms is only half built" in damaged(tmp_path)


def test_unknown_names_are_wrong_usage(tmp_path):
    with pytest.raises(UsageError, match=r"'pictogram': one of .*near to it: pictograms"):
        corpora.find("pictogram", tmp_path)
    with pytest.raises(UsageError, match=r"corpus 'no.such.Corpus' cannot be imported"):
        corpora.find("no.such.Corpus", tmp_path)
    with pytest.raises(UsageError, match="derives from"):
        corpora.find("pathlib.Path", tmp_path)
    with pytest.raises(UsageError, match=r"unknown split 'test'.*train, validation, test_unseen"):
        corpora.find(CORPUS, tmp_path).open("test")


def test_a_tarball_with_a_wrong_digest_stops_the_preparation(tmp_path):
    tarball = fetch.downloads(tmp_path) / EMOJILIB.filename
    tarball.parent.mkdir(parents=True)
    tarball.write_bytes(b"tampered with")
    half_built = tmp_path / CORPUS / "incomplete.ABCDEF_1.1.0"
    half_built.mkdir(parents=True)
    with pytest.raises(AligngapError, match=f"{tarball.name} has SHA-256 .*{EMOJILIB.sha256}"):
        corpora.find(CORPUS, tmp_path).prepare()
    assert tarball.read_bytes() == b"tampered with"
    assert list((tmp_path / CORPUS).iterdir()) == []


def test_an_unwritable_data_dir_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AligngapError, match=r"cannot prepare pictograms in .*file"):
        corpora.find(CORPUS, tmp_path / "file").prepare()


@pytest.mark.corpus
def test_reading_needs_neither_tensorflow_nor_flags(pictograms_dir):
    code = (
        "import sys; from pathlib import Path; from aligngap.data import corpora;"
        "assert 'tensorflow_datasets' not in sys.modules;"
        f"print(len(corpora.find('pictograms', Path({str(pictograms_dir)!r})).open('flags')));"
        "assert 'tensorflow' not in sys.modules"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 1000
