"""A tokenizer of a user's own, named by its path: as good as ours wherever one is asked for."""

import pickle

import pytest

from aligngap import config as configs
from aligngap.data import tokenizers
from aligngap.errors import AligngapError, UsageError
from aligngap.interop import processor


@pytest.fixture
def config():
    config = configs.default()
    config.data.tokenizer = "shapes.Letters"
    config.model.text.update(vocab_size=30, pooling="last")
    return config


def test_it_is_made_kept_and_reopened(config, tmp_path):
    tokenizers.check(config)
    assert not tokenizers.held(config, tmp_path)
    made = tokenizers.make(config, ["a cat", "a dog"])
    made.save(tmp_path)
    assert tokenizers.held(config, tmp_path)
    for twin in (tokenizers.reopen(config, tmp_path), pickle.loads(pickle.dumps(made))):
        assert twin.fingerprint == made.fingerprint
        assert twin.encode(["a cat"], 8)[0].tolist() == made.encode(["a cat"], 8)[0].tolist()
    assert made.decode(made.encode(["cat dog"], 5)[0]) == "cat "


def test_what_does_not_fit_it_is_its_own_words(config):
    config.model.text.pooling = "end_of_text"
    with pytest.raises(UsageError, match=r"shapes\.Letters needs last"):
        tokenizers.check(config)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sentences", "unknown tokenizer 'sentences': one of trained, clip, clip_fast, siglip"),
        ("no.such.Thing", "tokenizer 'no.such.Thing' cannot be imported"),
        ("pathlib.Path", "derives from no Tokenizer"),
    ],
)
def test_a_name_that_is_none(config, name, words):
    config.data.tokenizer = name
    with pytest.raises(UsageError, match=words):
        tokenizers.check(config)


def test_transformers_cannot_read_it(config, tmp_path):
    made = tokenizers.make(config, ["a cat"])
    with pytest.raises(AligngapError, match="Letters has no form that transformers reads"):
        processor.write_tokenizer(made, 8, tmp_path / "out")
    assert not (tmp_path / "out").exists()
