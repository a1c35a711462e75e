"""Real pictograms and captions, and a workdir that holds any parameters."""

from pathlib import Path

import numpy as np
import pytest

from aligngap.config import default
from aligngap.data import images, pipeline, tokenizer
from aligngap.interop import importing
from aligngap.runs import workdir


@pytest.fixture(scope="session")
def records(pictograms_dir):
    config = default()
    config.data.data_dir = str(pictograms_dir)
    return pipeline.open_split(config, "train")


@pytest.fixture(scope="session")
def captions(records) -> list[str]:
    """Every distinct caption of the training split."""
    found = (text for row in range(len(records)) for text in pipeline.captions(records[row]))
    return sorted(set(found))


@pytest.fixture(scope="session")
def sampled_captions(records) -> list[str]:
    """Names with keywords, as training puts them together."""
    data, rng = default().data, np.random.default_rng(0)
    data.max_keywords = 3
    return [pipeline.sample_caption(records[row], data, rng) for row in range(len(records))]


@pytest.fixture(scope="session")
def words(captions):
    return tokenizer.train(captions[::7], 640)


@pytest.fixture(scope="session")
def pictures(records) -> list:
    """Twelve pictograms as their files are: all sorts of sizes and drawing sets."""
    return [images.decode(records[row]["image"]) for row in range(0, len(records), 800)]


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
