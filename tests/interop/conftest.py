"""Real pictograms and captions, and a workdir that holds any parameters."""

from pathlib import Path

import numpy as np
import pytest

from aligngap.config import default
from aligngap.data import corpora, images
from aligngap.data.records import sample_caption, texts_of
from aligngap.data.tokenizers import bpe
from aligngap.interop import importing
from aligngap.runs import workdir


@pytest.fixture(scope="session")
def records(pictograms_dir):
    config = default()
    config.data.data_dir = str(pictograms_dir)
    return corpora.of(config).open("train")


@pytest.fixture(scope="session")
def captions(records) -> list[str]:
    """Every distinct caption of the training split."""
    return sorted(set(texts_of(records)))


@pytest.fixture(scope="session")
def sampled_captions(records) -> list[str]:
    """Names with keywords, as training puts them together."""
    data, rng = default().data, np.random.default_rng(0)
    data.max_keywords = 3
    return [sample_caption(records[row], data, rng)[0] for row in range(len(records))]


@pytest.fixture(scope="session")
def words(captions):
    return bpe.train(captions[::7], 640)


@pytest.fixture(scope="session")
def pictures(records) -> list:
    """Twelve pictograms as their files are: all sorts of sizes and drawing sets."""
    return [images.decode(records[row].image) for row in range(0, len(records), 800)]


@pytest.fixture
def hold(tmp_path):
    """(config, params, tokenizer) → a workdir that holds them."""

    def make(config, params, words=None, name="held") -> Path:
        folder = tmp_path / name
        workdir.claim(folder, config)
        if words:
            words.save(folder / "tokenizer")
        importing.save(folder, config, params)
        return folder

    return make
