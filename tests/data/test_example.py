"""Records that cannot be read: which rows take their place, and who is told."""

import dataclasses
import itertools

import numpy as np
import pytest

from aligngap.config import default, tower
from aligngap.data import corpora, pipeline, records
from aligngap.data.example import MOST_SKIPPED
from aligngap.data.tokenizers import bpe
from aligngap.errors import AligngapError

pytestmark = pytest.mark.corpus
LENGTH = 60


class Damaged:
    """Pictograms, each a group of its own; what is wrong with some of them, by their row."""

    def __init__(self, source, wrong: dict[int, str]) -> None:
        self._source, self._wrong, self.version = source, wrong, "damaged"

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, row: int) -> records.Record:
        record, wrong = self._source[row], self._wrong.get(row)
        if wrong == "unreadable":
            raise AligngapError(f"record {row}: its caption is not UTF-8")
        content = {"cut off": record.image[:-30], "zeros": bytes(500), "empty": b""}
        image = content.get(wrong, record.image)
        return dataclasses.replace(record, group=None, image=image)


WRONG = {3: "cut off", 10: "zeros", 11: "unreadable", 12: "empty", LENGTH - 1: "cut off"}
INSTEAD = {3: 4, 10: 13, 11: 13, 12: 13, LENGTH - 1: 0}


@pytest.fixture(scope="module")
def config(pictograms_dir):
    config = default()
    config.data.data_dir, config.data.workers = str(pictograms_dir), 0
    config.batch_size = 12
    config.model.image.update(tower(32, 1, 2, 4.0), size=32, patch_size=8)
    config.model.text.update(tower(32, 1, 2, 4.0), context_length=12, vocab_size=600)
    return config


@pytest.fixture(scope="module")
def source(config):
    return corpora.of(config).open("validation")


@pytest.fixture(scope="module")
def vocabulary(source):
    return bpe.train(records.texts_of(source)[:3000], 600)


def epoch(config, source, vocabulary, **changed):
    config = config.copy_and_resolve_references()
    rows = changed.pop("rows", None)
    config.data.update(changed)
    batches, found, replaced = pipeline.batches(config, source, vocabulary, rows=rows), [], 0
    for batch in itertools.islice(batches, LENGTH // config.batch_size):
        found.append(batch)
        replaced += batches.replaced
    return found, replaced


def test_the_next_record_that_can_be_read_takes_the_place(config, source, vocabulary):
    whole, none = epoch(config, Damaged(source, {}), vocabulary)
    found, replaced = epoch(config, Damaged(source, WRONG), vocabulary)
    assert (none, replaced) == (0, len(WRONG))
    for a, b in zip(whole, found, strict=True):
        assert a.keys() == b.keys() == {"image", "text", "group", "semantics"}
        wanted = [INSTEAD.get(row, row) for row in a["group"].tolist()]
        assert b["group"].tolist() == wanted
        kept = a["group"] == b["group"]
        for name in a:
            np.testing.assert_array_equal(a[name][kept], b[name][kept])


@pytest.mark.parametrize("changed", [{"workers": 2}, {"in_memory": True}])
def test_workers_and_memory_change_nothing(config, source, vocabulary, changed):
    damaged = Damaged(source, WRONG)
    wanted, _ = epoch(config, damaged, vocabulary)
    found, replaced = epoch(config, damaged, vocabulary, **changed)
    assert replaced == len(WRONG)
    for a, b in zip(wanted, found, strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_each_process_counts_its_own_rows(config, source, vocabulary):
    damaged = Damaged(source, WRONG)
    shares = [epoch(config, damaged, vocabulary, rows=range(i, i + 4)) for i in (0, 4, 8)]
    assert sum(replaced for _, replaced in shares) == len(WRONG)


def test_the_first_is_told_with_its_reason(config, source, vocabulary, capsys):
    epoch(config, Damaged(source, {11: "unreadable"}), vocabulary)
    epoch(config, Damaged(source, {}), vocabulary)
    (line,) = [x for x in capsys.readouterr().err.splitlines() if "WARNING" in x]
    assert "record 11: its caption is not UTF-8; the next record" in line
    epoch(config, Damaged(source, WRONG), vocabulary, workers=2)
    assert capsys.readouterr().err.count("WARNING") == 1


def test_where_nothing_can_be_read_it_is_an_error(config, source, vocabulary):
    everything = dict.fromkeys(range(LENGTH), "zeros")
    with pytest.raises(AligngapError, match=f"unknown format.*nor can the next {LENGTH - 1} "):
        epoch(config, Damaged(source, everything), vocabulary)
    assert LENGTH < MOST_SKIPPED
