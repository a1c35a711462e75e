"""The stream of the same pairs in other forms, copied or not: other readers, the same batches."""

import itertools

import numpy as np
import pyarrow.parquet
import pytest

from aligngap.config import default, tower
from aligngap.data import corpora, pipeline
from aligngap.data.sources import columnar
from aligngap.data.sources.raw import Columns
from aligngap.data.sources.splitting import Splitting
from aligngap.data.tokenizers import bpe

from forms import FORMS, parquet

pytestmark = pytest.mark.corpus
SIZE, STEPS = 32, 12  # Longer than an epoch of the training split.


@pytest.fixture(scope="module")
def config():
    config = default()
    config.data.corpus, config.batch_size = "mine", SIZE
    config.model.image.update(tower(32, 1, 2, 4.0), size=32, patch_size=8)
    config.model.text.update(tower(32, 1, 2, 4.0), context_length=12, vocab_size=600)
    return config


@pytest.fixture(scope="module")
def words(pairs):
    return bpe.train([text for pair in pairs for text in pair.captions], 600)


@pytest.fixture
def read(config, words):
    """(corpus, first batch, how many, ...) → its batches."""

    def batches(corpus, /, first=0, steps=STEPS, rows=None, **data):
        own = config.copy_and_resolve_references()
        own.data.data_dir, own.data.corpus = str(corpus.data_dir), corpus.name
        own.data.update(data)
        found = pipeline.batches(own, corpora.open_train(own), words, first=first, rows=rows)
        return list(itertools.islice(found, steps))

    return batches


def same(a, b):
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.fixture
def made(pairs, make, tmp_path):
    """(form, whether it is copied) → a corpus of it."""

    def build(form, copied=False):
        write, flags = FORMS[form]
        name = f"{form}{'-copied' if copied else ''}"
        lines = Columns(caption_a_line="--caption_a_line" in flags)
        return make(write(pairs, tmp_path / name), name, columns=lines, convert=copied)

    return build


def in_blocks(form):
    return form in ("parquet", "saved")


def test_every_form_gives_the_same_batches_bit_by_bit(made, read):
    """Of files that are read in blocks, where all of their records are shuffled."""
    first = made("table")
    wanted = read(first)
    assert len(first.open("train")) < SIZE * STEPS
    for form in [*FORMS][1:]:
        corpus = made(form)
        same(read(corpus, shuffle="global"), wanted)
        if in_blocks(form):
            assert (read(corpus)[0]["group"] != wanted[0]["group"]).any()
        else:
            same(read(corpus), wanted)


@pytest.mark.parametrize("form", ["shards", "table", "parquet"])
def test_a_copy_gives_the_same_batches(form, made, read):
    same(read(made(form, copied=True)), read(made(form), shuffle="global"))


def test_a_row_group_is_read_once_however_wide_the_window(make, pairs, read, tmp_path, monkeypatch):
    """Of two corpora at once, each with more row groups than are held without a window."""
    groups = []
    library = pyarrow.parquet.ParquetFile.read_row_group

    def counted(file, group, *more):
        groups.append((file.metadata.num_rows, group))
        return library(file, group, *more)

    for name, part in (("some", pairs[:100]), ("others", pairs[100:250])):
        path = parquet(part, tmp_path / name)
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(path), path, row_group_size=8)
        corpus = make(path, name, splitting=Splitting(0.0, 0.0))
        assert len(corpus.open("train").blocks(1)) - 1 > columnar.GROUPS_KEPT
    monkeypatch.setattr(pyarrow.parquet.ParquetFile, "read_row_group", counted)
    read(corpus, corpus="some:0.5,others:0.5", window_blocks=64)
    assert len({*groups}) > 3 * columnar.GROUPS_KEPT
    assert len(groups) <= len({*groups}) + 2  # Whether a corpus has semantics its first row says.


@pytest.mark.parametrize(
    ("form", "copied"), [("shards", False), ("parquet", False), ("coco", True)]
)
def test_workers_processes_and_restarts_change_nothing(form, copied, made, read):
    """One process without workers, then two with one each, then four with two each: what each reads
    from where the others stopped is one stream, with every record once an epoch."""
    corpus = made(form, copied)
    whole = read(corpus)
    found = []
    for processes, workers, first, steps in ((1, 0, 0, 3), (2, 1, 3, 4), (4, 2, 7, STEPS - 7)):
        shares = np.split(np.arange(SIZE), processes)
        parts = [
            read(corpus, first, steps, rows=rows.tolist(), workers=workers if rows[0] == 0 else 0)
            for rows in shares
        ]
        found += [
            {name: np.concatenate([part[name] for part in step]) for name in step[0]}
            for step in zip(*parts, strict=True)
        ]
    same(found, whole)
    length = len(corpus.open("train"))
    seen = np.concatenate([batch["group"] for batch in found])[:length]
    np.testing.assert_array_equal(np.sort(seen), np.arange(length))
