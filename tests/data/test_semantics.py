"""Semantics beside a corpus: what is written, read, gone on with and refused."""

import dataclasses
import json
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from made_captions import MadeCaptions

from aligngap import cli
from aligngap.config import default, tower
from aligngap.data import corpora, pipeline, records, semantics, sentences
from aligngap.data.semantics import Semantics, WithSemantics
from aligngap.data.tokenizers import bpe
from aligngap.errors import AligngapError

import programs
import sentence_folders
from forms import table

FILES = ("train.semantics.npy", "train.first_caption.npy", "train.semantics.json")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return sentence_folders.without_torch(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module")
def encoder(model):
    return sentences.load(str(model), model)


@pytest.fixture
def source():
    return MadeCaptions(100)


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


def test_rows_are_those_of_the_captions_in_order(source, encoder, tmp_path):
    semantics.write(source, tmp_path, "train", encoder, at_a_time=16)
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, ".semantics.lock"}
    texts = [text for row in range(100) for text in source.captions(row)]
    stored = np.load(tmp_path / FILES[0], mmap_mode="r")
    assert stored.dtype == np.float16
    # At most half a step of float16, whose steps below 1 are 2⁻¹¹.
    np.testing.assert_allclose(stored, encoder.embed(texts), atol=2**-12 + 1e-6, rtol=0)
    first = np.load(tmp_path / FILES[1])
    assert first.dtype == np.uint64
    np.testing.assert_array_equal(np.diff(first), [1 + row % 3 for row in range(100)])
    about = json.loads((tmp_path / FILES[2]).read_text())
    assert (about["model"], about["digest"]) == (encoder.name, encoder.digest)
    assert about["source"] == source.version


def test_a_record_has_a_row_a_caption_of_length_one(source, encoder, tmp_path):
    semantics.write(source, tmp_path, "train", encoder)
    for held in (Semantics(tmp_path, "train"), pickle.loads(pickle.dumps(Semantics(tmp_path, "train")))):  # fmt: skip # noqa: E501
        assert len(held) == 100
        for row in (0, 41, 98, 99):
            wanted = encoder.embed(source.captions(row))
            assert held[row].dtype == np.float32
            np.testing.assert_allclose(held[row], wanted, atol=1e-3, rtol=0)
            np.testing.assert_allclose(np.linalg.norm(held[row], axis=1), 1, atol=1e-6)
    used = Semantics(tmp_path, "train")
    used[3]
    assert len(pickle.dumps(used)) < 500  # Not the rows.


def test_the_parts_in_memory_do_not_show(source, encoder, tmp_path):
    for size in (7, 100, 1000):
        semantics.write(source, tmp_path / str(size), "train", encoder, at_a_time=size)
    first = np.load(tmp_path / "7" / FILES[0])
    for size in (100, 1000):
        np.testing.assert_allclose(np.load(tmp_path / str(size) / FILES[0]), first, atol=1e-3)
        assert (tmp_path / str(size) / FILES[1]).read_bytes() == (tmp_path / "7" / FILES[1]).read_bytes()  # fmt: skip # noqa: E501


@pytest.mark.system
def test_killed_at_any_moment_it_ends_with_the_same_bytes(model, tmp_path):
    program = [sys.executable, str(Path(__file__).with_name("made_captions.py")), str(model)]
    environment = {**os.environ, "PYTHONPATH": str(programs.ROOT), "JAX_NUM_CPU_DEVICES": "1"}

    def started(folder):
        folder.mkdir(exist_ok=True)
        return programs.Running([*program, str(folder)], environment, tmp_path / "said")

    alone, killed = tmp_path / "alone", tmp_path / "killed"
    assert started(alone).end() == 0
    random, growing = np.random.default_rng(0), killed / ".train.semantics.npy.growing"
    whole = (alone / FILES[0]).stat().st_size
    for size in np.sort(random.uniform(0.1, 0.9, 3)) * whole:
        running = started(killed)
        running.wait_until(lambda: growing.exists() and growing.stat().st_size > size)  # noqa: B023
        running.kill()
        assert not (killed / FILES[0]).exists()
    assert started(killed).end() == 0
    assert contents(killed) == contents(alone)
    assert {path.name for path in killed.iterdir()} == {path.name for path in alone.iterdir()}


def test_killed_between_the_last_names_it_is_finished(source, encoder, tmp_path):
    semantics.write(source, tmp_path, "train", encoder)
    whole = contents(tmp_path)
    about = json.loads((tmp_path / FILES[2]).read_text())
    # What a kill leaves when the first array has its name and the second has not.
    (tmp_path / ".train.semantics.json.progress").write_text(json.dumps(about))
    (tmp_path / FILES[2]).unlink()
    (tmp_path / FILES[1]).rename(tmp_path / f".{FILES[1]}.growing")
    semantics.write(source, tmp_path, "train", encoder)
    assert contents(tmp_path) == whole


def test_another_encoder_replaces_them_and_the_same_one_does_nothing(source, encoder, tmp_path):
    semantics.write(source, tmp_path, "train", encoder)
    before, stamp = contents(tmp_path), (tmp_path / FILES[0]).stat().st_mtime_ns
    semantics.write(source, tmp_path, "train", encoder)
    assert (tmp_path / FILES[0]).stat().st_mtime_ns == stamp
    other = sentences.load(
        str(sentence_folders.without_torch(tmp_path / "other", seed=1)), tmp_path
    )
    semantics.write(source, tmp_path, "train", other)
    assert contents(tmp_path)[FILES[0]] != before[FILES[0]]
    wanted = other.embed(source.captions(5))
    np.testing.assert_allclose(Semantics(tmp_path, "train")[5], wanted, atol=1e-3)


class TestAttach:
    def test_nothing_there_leaves_the_source(self, source, tmp_path):
        assert semantics.attach(source, tmp_path, "train") is source

    def test_records_have_their_captions_semantics(self, source, encoder, tmp_path):
        semantics.write(source, tmp_path, "train", encoder)
        held = pickle.loads(pickle.dumps(semantics.attach(source, tmp_path, "train")))
        assert isinstance(held, WithSemantics)
        assert len(held) == 100
        assert held.version != source.version
        assert held[7].captions == source[7].captions
        np.testing.assert_array_equal(held[7].semantics, Semantics(tmp_path, "train")[7])
        assert records.captions_of(held, 7) == source.captions(7)

    @pytest.mark.parametrize("other", [{"version": "made 2"}, {"records": 99}])
    def test_those_of_other_records_are_refused(self, source, encoder, tmp_path, other):
        semantics.write(source, tmp_path, "train", encoder)
        with pytest.raises(AligngapError, match="of other records than train has now"):
            semantics.attach(dataclasses.replace(source, **other), tmp_path, "train")

    @pytest.mark.parametrize("content", ["", "[1]", "{}"])
    def test_a_damaged_file_is_named(self, source, tmp_path, content):
        (tmp_path / FILES[2]).write_text(content)
        with pytest.raises(AligngapError, match=r"train\.semantics\.json cannot be read"):
            semantics.attach(source, tmp_path, "train")

    def test_a_missing_array_is_named(self, source, encoder, tmp_path):
        semantics.write(source, tmp_path, "train", encoder)
        (tmp_path / FILES[0]).unlink()
        with pytest.raises(AligngapError, match=r"train\.semantics\.npy cannot be read"):
            semantics.attach(source, tmp_path, "train")[0]


def test_prepare_embeds_a_corpus_and_training_samples_by_caption(model, encoder, tmp_path):
    """Of a user's own corpus, by the command; a batch then has those of the sampled captions."""
    command = ["prepare", "--corpus=shapes.Shapes", f"--data_dir={tmp_path}"]
    assert cli.main([*command, f"--semantics={model}"]) == 0
    config = default()
    config.data.corpus, config.data.data_dir, config.batch_size = "shapes.Shapes", str(tmp_path), 8
    config.model.image.update(tower(32, 1, 2, 4.0), size=32, patch_size=8)
    config.model.text.update(tower(32, 1, 2, 4.0), context_length=48, vocab_size=514)
    config.objective.separation_weight = 0.25
    source = corpora.open_train(config)
    pipeline.check(config, source)
    tokenizer = bpe.train(records.texts_of(source), 514)
    batches = pipeline.batches(config, source, tokenizer)
    for batch, _ in zip(batches, range(4), strict=False):
        captions = [tokenizer.decode(ids) for ids in batch["text"]]
        assert batch["semantics"].shape == (8, 32)
        np.testing.assert_allclose(batch["semantics"], encoder.embed(captions), atol=2e-3)


@pytest.mark.corpus
def test_images_that_went_missing_have_semantics_all_the_same(pairs, model, encoder, tmp_path):
    """Of a table: training puts other records in their place, and captions are at hand."""
    given = table(pairs[:40], tmp_path / "t")
    where = [f"--data_dir={tmp_path}"]
    shares = ["--test_share=0", "--validation_share=0", "--workers=1"]
    assert cli.main(["prepare", f"--source={given}", "--name=mine", *where, *shares]) == 0
    for row in (0, 7):
        (tmp_path / "t" / "images" / f"{pairs[row].name}.png").unlink()
    assert cli.main(["prepare", "--corpus=mine", *where, f"--semantics={model}"]) == 0
    stored = np.load(tmp_path / "mine" / FILES[0])
    texts = [text for pair in pairs[:40] for text in pair.captions]
    np.testing.assert_allclose(stored, encoder.embed(texts), atol=2**-12 + 1e-6, rtol=0)


@pytest.mark.corpus
def test_the_pictograms_keep_their_own(pictograms_dir, model, capsys):
    code = cli.main(["prepare", f"--data_dir={pictograms_dir}", f"--semantics={model}"])
    assert code == 2
    assert "pictograms says itself what its records mean" in capsys.readouterr().err
    assert not list(pictograms_dir.glob("pictograms/*.semantics.*"))


def test_semantics_need_a_corpus(tmp_path, clip_dir, capsys):
    code = cli.main(["prepare", "--tokenizer=clip", f"--data_dir={clip_dir}", "--semantics=minilm"])
    assert code == 2
    assert "name one with --corpus" in capsys.readouterr().err
