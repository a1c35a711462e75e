"""What does not fit is said in a sentence each, and nothing of what does."""

import threading

import numpy as np
import pytest

from aligngap.config import default, tower
from aligngap.data import corpora, example, fit, pipeline
from aligngap.data.records import Record, texts_of
from aligngap.data.sources.machines import ThisMachine
from aligngap.data.sources.prepare import Request, prepare
from aligngap.data.sources.raw import Columns, Rules
from aligngap.data.sources.splitting import Splitting
from aligngap.data.tokenizers import bpe
from aligngap.errors import AligngapError, StoreError

from forms import table

pytestmark = pytest.mark.corpus


@pytest.fixture
def config(pairs, tmp_path):
    """Two corpora: 60 pictures, a third of them with long captions, and 20 with short ones."""
    long = " ".join(f"word{i}" for i in range(40))
    some = [p._replace(captions=[long if i % 3 == 0 else "a cat"]) for i, p in enumerate(pairs)]
    for name, part in (("some", some[:60]), ("few", [some[i] for i in range(61, 121, 3)])):
        source = {"": str(table(part, tmp_path / name))}
        request = Request(name, source, Columns(), Rules(), Splitting(0.0, 0.0))
        prepare(request, tmp_path / "data", ThisMachine(1))
    config = default()
    config.data.data_dir, config.data.corpus = str(tmp_path / "data"), "some"
    config.batch_size = 60
    config.model.image.update(tower(32, 1, 2, 4.0), size=32, patch_size=8)
    config.model.text.update(tower(32, 1, 2, 4.0), context_length=12, vocab_size=600)
    return config


def said(config):
    source = corpora.open_train(config)
    return list(fit.misfits(config, source, bpe.train(texts_of(source), 600)))


def test_a_batch_of_more_than_there_is(config):
    config.model.text.context_length = 300
    assert said(config) == []
    config.batch_size = 61
    (line,) = said(config)
    assert "a batch has 61 pairs of some, which has 60 to train on" in line
    assert "batch_size=60 or less" in line
    config.objective.mask_duplicates = "group"
    assert said(config) == []


def test_of_a_mixture_by_its_weights(config):
    config.model.text.context_length = 300
    config.data.corpus, config.batch_size = "some:0.5,few:0.5", 40
    assert said(config) == []
    config.data.corpus = "some:0.4,few:0.6"
    (line,) = said(config)
    assert "a batch has 24 pairs of few, which has 20 to train on" in line


def test_captions_that_are_cut_off(config):
    (line,) = said(config)
    assert line.startswith("33% of the captions of some have more than the 12 tokens of")
    config.data.corpus, config.batch_size = "few", 20
    assert said(config) == []


class Slow:
    """Records that come once eight are asked for, as a store may answer; one is damaged."""

    version, all_there = "slow", threading.Barrier(8)

    def __len__(self) -> int:
        return 240

    def __getitem__(self, row: int) -> Record:
        self.all_there.wait(timeout=20)
        if row == 0:
            raise AligngapError("this one cannot be read")
        return Record(b"", (" ".join(f"word{i}" for i in range(40)),))


def test_captions_of_a_store_are_asked_for_at_once(config):
    config.model.text.context_length, config.batch_size = 12, 8
    (line,) = fit.misfits(config, Slow(), bpe.train(["word"], 600))
    assert line.startswith("100% of the captions of some")


def test_a_store_that_fails_ends_the_look(config):
    class Failing(Slow):
        def __getitem__(self, row: int) -> Record:
            raise StoreError("its store fails")

    with pytest.raises(StoreError, match="its store fails"):
        list(fit.misfits(config, Failing(), bpe.train(["word"], 600)))


def test_what_is_held_in_memory_has_a_bound(config, monkeypatch):
    """And batches are the same, whatever is held."""
    source = corpora.open_train(config)
    words = bpe.train(texts_of(source), 600)
    wanted = next(pipeline.batches(config, source, words))
    config.data.in_memory = True
    part = example.Part(source, "train", config.data, source.__getitem__)
    one = 64 * 64 * 3 + len(source[0].image)
    for bytes_held, records in ((0, 0), (1, 1), (3 * one, 3), (2**31, 60)):
        monkeypatch.setattr(example, "MOST_HELD", bytes_held)
        held = example.Example(config, words, [part])
        for row in range(60):
            held.row(example.Place(0, row), np.random.default_rng(0))
        assert abs(len(held._kept) - records) <= 1
        found = next(pipeline.batches(config, source, words))
        np.testing.assert_array_equal(found["image"], wanted["image"])
