"""Batches are a pure function of (seed, step): of nothing else, and of all of it."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from aligngap.config import default, tower
from aligngap.data import corpora, crops, images, pipeline, records
from aligngap.data.tokenizers import bpe
from aligngap.errors import AligngapError, UsageError

pytestmark = pytest.mark.corpus


@pytest.fixture(scope="module")
def config(pictograms_dir):
    config = default()
    config.data.data_dir = str(pictograms_dir)
    config.batch_size = 24
    config.data.max_keywords = 2
    config.model.image.update(tower(32, 1, 2, 4.0), size=32, patch_size=8)
    config.model.text.update(tower(32, 1, 2, 4.0), context_length=12, vocab_size=600)
    return config


@pytest.fixture(scope="module")
def source(config):
    return corpora.find("pictograms", Path(config.data.data_dir)).open("validation")


@pytest.fixture(scope="module")
def vocabulary(config, source):
    return bpe.train(records.texts_of(source)[:3000], config.model.text.vocab_size)


def take(config, source, vocabulary, steps, **kw):
    return list(itertools.islice(pipeline.batches(config, source, vocabulary, **kw), steps))


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_shapes_and_types(config, source, vocabulary):
    (batch,) = take(config, source, vocabulary, 1)
    assert {name: (rows.shape, rows.dtype.name) for name, rows in batch.items()} == {
        "image": ((24, 32, 32, 3), "uint8"),
        "text": ((24, 12), "int32"),
        "semantics": ((24, 384), "float32"),
        "group": ((24,), "int32"),
    }


def test_starting_at_a_step_continues_the_stream(config, source, vocabulary):
    epoch = len(source) // config.batch_size  # The batch that lies across the end of the first.
    whole = take(config, source, vocabulary, epoch + 3)
    for start in (0, 1, epoch, epoch + 2):
        (batch,) = take(config, source, vocabulary, 1, first=start)
        same(batch, whole[start])


def test_another_seed_gives_other_batches(config, source, vocabulary):
    other = config.copy_and_resolve_references()
    other.seed = 1
    (a,), (b,) = take(config, source, vocabulary, 1), take(other, source, vocabulary, 1)
    assert (a["group"] != b["group"]).any()


@pytest.mark.parametrize("rows", [range(12), range(12, 24), [0, 1, 6, 7, 23]])
def test_any_rows_of_a_batch_are_those_of_the_whole(config, source, vocabulary, rows):
    """What the devices of one process hold, wherever they stand in the mesh."""
    whole = take(config, source, vocabulary, 3)
    for batch, part in zip(whole, take(config, source, vocabulary, 3, rows=rows), strict=True):
        same(part, {name: values[list(rows)] for name, values in batch.items()})


def test_worker_processes_change_nothing(config, source, vocabulary):
    worked = config.copy_and_resolve_references()
    worked.data.workers = 2
    for a, b in zip(
        take(config, source, vocabulary, 5, first=3),
        take(worked, source, vocabulary, 5, first=3),
        strict=True,
    ):
        same(a, b)


@pytest.mark.parametrize("processes", [(1,), (2, 1, 4)])
def test_every_record_is_seen_once_an_epoch(config, source, vocabulary, processes):
    """Also where the number of processes changes on the way, each reading rows of its own."""
    size, steps = config.batch_size, -(-len(source) // config.batch_size)
    seen, first = [], 0
    for count, last in zip(processes, np.linspace(0, steps, len(processes) + 1)[1:], strict=True):
        shares = np.split(np.arange(size), count)
        read = [
            take(config, source, vocabulary, int(last) - first, first=first, rows=rows.tolist())
            for rows in shares
        ]
        seen += [batch["group"] for batches in zip(*read, strict=True) for batch in batches]
        first = int(last)
    seen = np.concatenate(seen)[: len(source)]
    wanted = [source[i].group for i in range(len(source))]
    np.testing.assert_array_equal(np.sort(seen), np.sort(wanted))


def test_semantics_and_group_belong_to_the_concept_whatever_caption_is_sampled(
    config, source, vocabulary
):
    (batch,) = take(config, source, vocabulary, 1)
    by_group = {source[i].group: source[i] for i in range(len(source))}
    for group, semantics, ids in zip(
        batch["group"], batch["semantics"], batch["text"], strict=True
    ):
        record = by_group[group]
        np.testing.assert_array_equal(semantics, record.semantics)
        names = record.captions
        # The caption starts with one of the concept's names, up to where the context ends.
        starts = [
            row[: row.index(vocabulary.end_id)] for row in vocabulary.encode(names, 12).tolist()
        ]
        assert any(ids[: len(start)].tolist() == start for start in starts)


def captions_of(record, rounds=300, **fields):
    data = default().data
    data.update(fields)
    random = np.random.default_rng(0)
    return [records.sample_caption(record, data, random)[0] for _ in range(rounds)]


def with_names_and_keywords(source):
    found = (source[row] for row in range(50))
    return next(record for record in found if len(record.captions) > 1 and record.keywords)


def test_a_caption_is_a_name_and_some_of_the_keywords(source):
    record = with_names_and_keywords(source)
    names, words = record.captions, record.keywords
    assert set(captions_of(record)) == set(names)
    counts = set()
    for caption in captions_of(record, max_keywords=2):
        name = max((n for n in names if caption.startswith(n)), key=len)
        keywords = caption[len(name) :].removeprefix(", ")
        counts.add(len(keywords.split(", ")) if keywords else 0)
        assert not keywords or keywords.split(", ")[0] in words
    assert counts == {0, 1, 2}
    assert records.caption(record, 2) == ", ".join([names[0], *words[:2]])


def test_a_caption_may_be_keywords_alone(source):
    record = with_names_and_keywords(source)
    names, words = record.captions, record.keywords
    alone = captions_of(record, rounds=1000, max_keywords=1, name_share=0.0)
    assert set(alone) == set(words)
    half = captions_of(record, rounds=1000, max_keywords=1, name_share=0.5)
    assert 400 < sum(caption in words for caption in half) < 600
    # A concept without keywords always has its name.
    bare = dataclasses.replace(record, keywords=())
    assert set(captions_of(bare, max_keywords=1, name_share=0.0)) == set(names)


class TestOwnSemantics:
    def run(self, config, source, vocabulary, tmp_path, array):
        own = config.copy_and_resolve_references()
        own.data.semantics = str(tmp_path / "own.npy")
        np.save(tmp_path / "own.npy", array, allow_pickle=True)
        return take(own, source, vocabulary, 1)[0]

    def test_rows_follow_their_records_and_are_normalised(
        self, config, source, vocabulary, tmp_path
    ):
        groups = np.array([source[i].group for i in range(len(source))])
        rows = np.stack([groups, np.ones(len(groups))], axis=1) / 1e9
        batch = self.run(config, source, vocabulary, tmp_path, rows)
        wanted = np.stack([batch["group"] / 1e9, np.full(24, 1e-9)], axis=1)
        wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
        np.testing.assert_allclose(batch["semantics"], wanted, atol=1e-6)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda n: np.ones((n - 1, 4)), r"expected \[\d+, S\]"),
            (lambda n: np.ones(n), r"expected \[\d+, S\]"),
            (lambda n: np.eye(n)[:, :4], "row 4 is zero"),
            (lambda n: np.full((n, 2), np.nan), "row 0 is zero or not finite"),
            (lambda n: np.array([{}] * n), "not a readable .npy array"),
        ],
    )
    def test_bad_arrays(self, config, source, vocabulary, tmp_path, make, message):
        with pytest.raises(UsageError, match=message):
            self.run(config, source, vocabulary, tmp_path, make(len(source)))


def test_an_empty_split_is_an_error(config, vocabulary):
    with pytest.raises(AligngapError, match="empty"):
        take(config, [], vocabulary, 1)


def test_bytes_that_are_no_image():
    with pytest.raises(AligngapError, match="image 7 of train cannot be decoded"):
        images.decode(b"\x89PNG\r\n\x1a\n garbage", "7 of train")


def test_random_crops_keep_the_area_they_should(source):
    image = images.decode(source[0].image)
    whole = crops.random_crop(image, 64, (1.0, 1.0), (1.0, 1.0), np.random.default_rng(0))
    np.testing.assert_array_equal(whole, np.asarray(image))
    random = np.random.default_rng(0)
    found = [crops.random_crop(image, 32, (0.3, 0.5), (3 / 4, 4 / 3), random) for _ in range(8)]
    assert {crop.shape for crop in found} == {(32, 32, 3)}
    assert len({crop.tobytes() for crop in found}) > 1
