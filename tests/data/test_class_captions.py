"""Classes in prompts as captions: what a record becomes, what training reads, what is refused."""

import pickle

import numpy as np
import pytest

from aligngap import config as configs
from aligngap.data import class_captions, corpora, records
from aligngap.errors import UsageError

pytestmark = pytest.mark.corpus


@pytest.fixture
def labelled(small):
    small.data.class_captions = "subgroup"
    small.data.prompts = ("a picture of {}.", "{}")
    return small


def test_a_record_says_its_class(labelled):
    corpus = corpora.of(labelled)
    plain, source = corpus.open("validation"), corpora.open_train(labelled)
    assert len(source) == len(plain)
    for row in (0, 7, 300):
        before, record = plain[row], source[row]
        name = before.labels["subgroup"]
        texts = corpus.classes("subgroup")[name]
        assert record.captions == tuple(p for t in texts for p in (f"a picture of {t}.", t))
        assert (record.image, record.name, record.labels) == (
            before.image,
            before.name,
            before.labels,
        )
        assert record.keywords == () and record.semantics is None


def test_groups_are_classes(labelled):
    source = corpora.open_train(labelled)
    found = [source[row] for row in range(0, len(source), 5)]
    groups = {record.labels["subgroup"]: record.group for record in found}
    assert all(record.group == groups[record.labels["subgroup"]] for record in found)
    assert len(set(groups.values())) == len(groups) > 30


def test_a_class_that_the_corpus_does_not_list_is_called_by_its_name(labelled):
    corpus = corpora.of(labelled)
    plain = corpus.open("validation")
    given = plain, "group", {"objects": ("thing",)}, ("a {}",), {"objects": 0}
    source = class_captions.ClassCaptions(*given)
    for row in range(0, len(plain), 40):
        name = plain[row].labels["group"]
        known = name == "objects"
        assert source[row].captions == ("a thing" if known else f"a {name}",)
        assert source[row].group == (0 if known else 1 + row)


def test_it_is_another_source_that_travels_to_workers(labelled):
    source = corpora.open_train(labelled)
    labelled.data.prompts = ("{}",)
    other = corpora.open_train(labelled)
    assert source.version != other.version
    again = pickle.loads(pickle.dumps(other))
    assert again[3].captions == other[3].captions
    assert records.captions_of(other, 3) == other[3].captions
    rng = np.random.default_rng(0)
    assert records.sample_caption(other[3], labelled.data, rng)[0] in other[3].captions


def test_what_cannot_be_is_refused(labelled):
    labelled.data.class_captions = "leaf"
    with pytest.raises(UsageError, match="no such labels; it has group, subgroup"):
        corpora.open_train(labelled)
    labelled.data.prompts = ("a photo",)
    with pytest.raises(UsageError, match=r"data\.prompts"):
        configs.validate(labelled)
