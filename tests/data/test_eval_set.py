"""A split as evaluation reads it: which texts are right for which images."""

from dataclasses import dataclass

import numpy as np
import pytest

from aligngap.config import default
from aligngap.data import eval_set, records
from aligngap.data.corpus import Corpus, Split
from aligngap.data.records import Record


@pytest.mark.corpus
def test_names_of_one_thing_are_one_text(pictograms_dir):
    config = default()
    config.data.data_dir, config.data.max_keywords = str(pictograms_dir), 1
    found = eval_set.read(config, "test_unseen_both")
    count = len(found.texts)
    np.testing.assert_array_equal(found.text_group, np.arange(count))
    assert len(set(found.image_group)) == count
    np.testing.assert_array_equal(found.image_text, found.image_group)
    for row in (0, 100, len(found.source) - 1):
        record = found.source[row]
        assert found.texts[found.image_text[row]] == records.caption(record, 1)
        assert found.labels["group"][row] == record.labels["group"]
    assert found.pixels(0, 32, "crop").shape == (32, 32, 3)
    assert found.split.title == "Unseen concepts in an unseen style"


@dataclass
class Few:
    held: list[Record]
    version = "1"

    def __len__(self):
        return len(self.held)

    def __getitem__(self, row):
        return self.held[row]


class Captioned(Corpus):
    """Images with several captions each, two of them of one group."""

    splits = (Split("test", "test"),)

    def open(self, split):
        return Few(
            [
                Record(b"", ("a dog", "a hound"), group=7),
                Record(b"", ("a cat",), keywords=("pet",), group=3),
                Record(b"", ("a hound", "a dog on grass"), group=7),
            ]
        )


def test_each_of_several_captions_is_a_text_of_its_group():
    config = default()
    config.data.corpus, config.data.max_keywords = f"{__name__}.Captioned", 1
    found = eval_set.read(config, "test")
    assert found.texts == ["a dog", "a hound", "a cat, pet", "a dog on grass"]
    assert found.image_group.tolist() == [0, 1, 0]
    assert found.text_group.tolist() == [0, 0, 1, 0]
    assert found.image_text.tolist() == [0, 2, 0]
