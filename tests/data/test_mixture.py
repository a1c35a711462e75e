"""Several corpora in one stream, whatever reads it; and pairs that name what another holds out."""

import itertools
import shutil
from collections import Counter

import numpy as np
import pytest

from aligngap.cli import main
from aligngap.config import default, tower, validate
from aligngap.data import corpora, fit, mixture, overlap, pipeline, semantics
from aligngap.data.mixture import Share
from aligngap.data.records import texts_of
from aligngap.data.sources.machines import ThisMachine
from aligngap.data.sources.prepare import Request, prepare
from aligngap.data.sources.raw import Columns, Rules
from aligngap.data.sources.splitting import Splitting
from aligngap.data.tokenizers import bpe
from aligngap.errors import UsageError

import sentence_folders
from forms import shards, table

pytestmark = pytest.mark.corpus


@pytest.fixture(scope="module")
def data_dir(pairs, tmp_path_factory):
    """Two corpora of real pictures: 200 in tars, 100 that a table names."""
    folder = tmp_path_factory.mktemp("mixture")
    given = {
        "tars": shards(pairs[:200], folder / "tars"),
        "files": table(pairs[200:], folder / "files"),
    }
    for name, source in given.items():
        request = Request(name, {"": str(source)}, Columns(), Rules(), Splitting(0.1, 0.1))
        prepare(request, folder / "data", ThisMachine(1))
    return folder / "data"


@pytest.fixture
def config(data_dir):
    config = default()
    config.data.corpus, config.data.data_dir = "tars:0.75,files:0.25", str(data_dir)
    config.batch_size = 16
    config.model.image.update(tower(32, 1, 2, 4.0), size=32, patch_size=8)
    config.model.text.update(tower(32, 1, 2, 4.0), context_length=12, vocab_size=600)
    return config


def batches(config, steps, **kw):
    source = corpora.open_train(config)
    vocabulary = bpe.train(texts_of(source), 600)
    found = pipeline.batches(config, source, vocabulary, **kw)
    return list(itertools.islice(found, steps))


def same(a, b):
    for one, other in zip(a, b, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def of_files(batch):
    """Which rows are of the second corpus: groups of both stay apart."""
    return batch["group"] % 2 == 1


def test_names_and_weights():
    assert mixture.shares("pictograms") == [Share("pictograms", 1.0)]
    assert mixture.shares("a:0.7, b:.3") == [Share("a", 0.7), Share("b", 0.3)]
    assert mixture.shares("a,b,pkg.mod.C") == [Share("a", 1), Share("b", 1), Share("pkg.mod.C", 1)]
    assert mixture.shares("imagenet2012:5.1.0:2,a:1")[0] == Share("imagenet2012:5.1.0", 2.0)
    for bad in ("a:1,b", "a,a", "a:0,b:1", "a,,b"):
        with pytest.raises(UsageError, match=f"data.corpus={bad}"):
            mixture.shares(bad)


def test_each_batch_has_the_share_of_each_corpus(config):
    for batch in batches(config, 20):
        assert of_files(batch).sum() == 4
        assert batch["image"].std() > 0


def test_every_record_of_each_corpus_once_an_epoch_of_its_own(config):
    source = corpora.open_train(config)
    found = np.concatenate([batch["group"] for batch in batches(config, 40)])
    for number, part in enumerate(source.parts):
        own = found[found % 2 == number] // 2
        epochs = len(own) // len(part)
        assert epochs >= 1
        first = own[: epochs * len(part)].reshape(epochs, len(part))
        for epoch in first:
            np.testing.assert_array_equal(np.sort(epoch), np.arange(len(part)))


def test_how_often_a_run_sees_each_corpus(config):
    config.steps, config.data.mixture_schedule = 40, ((20, (1.0, 0.0)),)
    source = corpora.open_train(config)
    tars, files = map(len, source.parts)
    assert pipeline.epochs(config, source) == (
        f"{tars} pairs of tars {(20 * 12 + 20 * 16) / tars:.1f} times, "
        f"{files} pairs of files {20 * 4 / files:.1f} times"
    )
    config.data.corpus, config.data.mixture_schedule = "files", ()
    own = corpora.open_train(config)
    assert pipeline.epochs(config, own) == f"{files} pairs of files {40 * 16 / files:.1f} times"


@pytest.mark.parametrize("shuffle", ["global", "block"])
def test_workers_processes_and_restarts_change_nothing(config, shuffle):
    config.data.shuffle, config.data.block_size, config.data.window_blocks = shuffle, 16, 2
    config.data.mixture_schedule = ((3, (0.5, 0.5)),)
    whole = batches(config, 6)
    assert [int(of_files(batch).sum()) for batch in whole] == [4, 4, 4, 8, 8, 8]
    same(batches(config, 2, first=4), whole[4:])
    for workers in (1, 2):
        config.data.workers = workers
        same(batches(config, 3, first=2), whole[2:5])
    config.data.workers = 0
    for processes in (2, 4):
        rows = np.split(np.arange(16), processes)
        parts = [batches(config, 6, rows=own.tolist()) for own in rows]
        joined = [
            {name: np.concatenate([part[name] for part in step]) for name in step[0]}
            for step in zip(*parts, strict=True)
        ]
        same(joined, whole)


def test_each_corpus_may_be_sampled_in_its_own_way(config):
    def captions(source, row):
        return source[row].captions

    plain = batches(config, 8)
    config.data.of.files = {"first_caption": True}
    validate(config)
    first = batches(config, 8)
    differ = [(a["text"] != b["text"]).any(axis=1) for a, b in zip(plain, first, strict=True)]
    changed = [rows & of_files(batch) for rows, batch in zip(differ, plain, strict=True)]
    assert np.concatenate(changed).any()
    assert not np.concatenate(
        [rows & ~of_files(b) for rows, b in zip(differ, plain, strict=True)]
    ).any()


def embedded(data_dir, folder, **widths):
    """Semantics beside each corpus, of so many dimensions."""
    for name, width in widths.items():
        model = sentence_folders.without_torch(folder / f"{name}{width}", width=width)
        corpus = corpora.find(name, data_dir)
        semantics.prepare(corpus, str(model))


def test_a_mixture_has_semantics_where_all_its_corpora_have_them_alike(config, tmp_path):
    """In one width: else it has none, and an objective that needs them is told so."""
    folder = shutil.copytree(config.data.data_dir, tmp_path / "data")
    config.data.data_dir, config.objective.separation_weight = str(folder), 0.25
    with pytest.raises(UsageError, match=r"which tars does not have: .*--corpus=tars --semantics"):
        pipeline.check(config, corpora.open_train(config))
    embedded(folder, tmp_path, tars=32)
    with pytest.raises(UsageError, match="which files does not have"):
        pipeline.check(config, corpora.open_train(config))
    config.objective.separation_weight = 0.0
    assert all("semantics" not in batch for batch in batches(config, 2))

    config.objective.separation_weight = 0.25
    embedded(folder, tmp_path, files=32)
    pipeline.check(config, corpora.open_train(config))
    for batch in batches(config, 2):
        assert batch["semantics"].shape == (16, 32)
        np.testing.assert_allclose(np.linalg.norm(batch["semantics"], axis=1), 1, atol=1e-3)

    (folder / "files" / "train.semantics.json").unlink()
    embedded(folder, tmp_path, files=16)
    with pytest.raises(UsageError, match=r"have widths \[32, 16\]: embed all of them with one"):
        pipeline.check(config, corpora.open_train(config))


def test_several_are_prepared_by_one_command(data_dir, capsys):
    """A name that is wrong is told before anything is done."""
    assert main(["prepare", "--corpus=tars,files", f"--data_dir={data_dir}"]) == 0
    assert main(["prepare", "--corpus=pictograms,stamps,openclipart", "--list"]) == 0
    listed = capsys.readouterr().out
    assert all(word in listed for word in ("noto", "tuxpaint-stamps-default", "openclipart-svg"))
    command = ["prepare", "--corpus=stamps,tars,fils", f"--data_dir={data_dir}"]
    assert main(command) == 2
    assert "unknown corpus 'fils'" in capsys.readouterr().err
    assert not list(data_dir.glob("*stamps*"))


def test_with_replacement_some_come_again_before_others(config):
    config.data.replacement = True
    found = np.concatenate([batch["group"] for batch in batches(config, 10)])
    assert max(Counter(found.tolist()).values()) > 1


def test_the_splits_of_a_mixture_are_those_of_its_parts(config):
    corpus = corpora.of(config)
    assert corpora.test_splits(config) == ("tars/test", "files/test")
    assert corpora.validation_split(config) == "tars/validation"
    assert corpora.trained_on(config) == ("tars/train", "files/train")
    part, split = corpora.named(config, "files/test")
    assert (part.name, split) == ("files", "test")
    assert len(corpus.open("files/test")) == len(part.open("test"))


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        ("mixture_schedule", ((0, (1, 1)),), "steps rising from 1 on"),
        ("mixture_schedule", ((5, (1, 1, 1)),), "weights of the 2 corpora"),
        ("mixture_schedule", ((5, (0, 0)),), "not all 0"),
        ("of", {"files": {"workers": 2}}, "data.of.files: 'workers' is none of"),
        ("shuffle", "windows", "must be one of"),
        ("block_size", 0, "must be at least 1"),
    ],
)
def test_bad_values_are_one_line(config, field, value, line):
    if field == "of":
        config.data.of.update(value)
    else:
        config.data[field] = value
    with pytest.raises(UsageError, match=line):
        validate(config)


def test_pairs_that_name_what_another_corpus_holds_out_are_left_out(config, capsys):
    files = corpora.find("files", corpora.of(config).data_dir)
    held = overlap.held_out([files])
    trained = {overlap.words(text) for text in texts_of(files.open("train"))}
    test = files.open("test")
    tested = {overlap.words(text) for row in range(len(test)) for text in test[row].captions}
    assert tested - trained <= held
    assert not held & trained
    config.data.leave_out = ("files",)
    source = corpora.open_train(config)
    before = corpora.of(config).open("tars/train")
    left = [r for r in map(before.__getitem__, range(len(before))) if overlap.names_in(r, held)]
    assert len(source.parts[0]) == len(before) - len(left)
    assert f"{len(left)} of {len(before)} pairs name what is held out" in capsys.readouterr().err
    assert len(source.parts[1]) == len(files.open("train"))
    config.data.semantics = "own.npy"
    with pytest.raises(UsageError, match="a row for each record of the split, of which"):
        corpora.open_train(config)


def test_a_record_that_went_missing_ends_nothing_before_training_replaces_it(pairs, tmp_path):
    config, folder = default(), tmp_path / "data"
    request = Request(
        "mine",
        {"": str(table(pairs[:60], tmp_path / "t"))},
        Columns(),
        Rules(),
        Splitting(0.1, 0.1),
    )
    prepare(request, folder, ThisMachine(1))
    config.data.update(corpus="mine", data_dir=str(folder), leave_out=("mine",))
    config.batch_size = 8
    whole = corpora.open_train(config)
    for row in (0, 7):
        (tmp_path / "t" / whole[row].name).unlink()
    read = [whole[row] for row in range(len(whole)) if row not in (0, 7)]
    assert texts_of(whole) == [text for record in read for text in record.captions]
    assert mixture.width_of(whole) is None
    vocabulary = bpe.train(texts_of(whole), 600)
    assert not list(fit.misfits(config, whole, vocabulary))
    left = overlap.without(whole, {("no", "such", "name")}, "mine")
    assert [int(row) for row in left.rows] == [r for r in range(len(whole)) if r not in (0, 7)]


def test_more_groups_than_a_batch_has_room_for():
    part = range(2**30 + 1)  # As long as a source of so many records.
    with pytest.raises(UsageError, match=r"2 corpora, the largest of 1,073,741,825 records"):
        mixture.Joined([part, part], ["a", "b"])
    mixture.Joined([range(2**30)] * 2, ["a", "b"])


def test_names_are_whole_words():
    from aligngap.data.records import Record

    held = {("cat",), ("hot", "dog")}
    for caption, found in {
        "A cat.": {("cat",)},
        "concatenate": set(),
        "a HOT-dog, a Cat": held,
        "hot and dog": set(),
    }.items():
        assert overlap.names_in(Record(b"", (caption,)), held) == found
    assert overlap.names_in(Record(b"", ("x",), ("hot dog",)), held) == {("hot", "dog")}
