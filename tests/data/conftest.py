"""Real captions in six languages, and real images."""

import json

import numpy as np
import pytest

from aligngap.data import corpora, fetch, inputs
from aligngap.data.corpora import pictogram_concepts

from forms import Pair, drawings

LANGUAGES = ("en", "fr", "de", "pl", "ru", "ja")


@pytest.fixture(scope="session")
def captions(clip_dir) -> list[str]:
    """10,000 captions of the pictograms, names and keywords in six languages."""
    pin = pictogram_concepts.EMOJIBASE
    archive = fetch.npm_tarballs([pin], fetch.downloads(clip_dir))[pin.name]
    files = fetch.read_members(archive, [f"package/{code}/compact.json" for code in LANGUAGES])
    records = [record for file in files.values() for record in json.loads(file)]
    texts = {text for record in records for text in (record["label"], *record.get("tags", []))}
    return list(np.random.default_rng(0).permutation(sorted(texts))[:10_000])


@pytest.fixture(scope="session")
def pairs(pictograms_dir) -> list[Pair]:
    """300 pictures of the pictograms, no two alike, with one to three names each."""
    return drawings(pictograms_dir, 300)


@pytest.fixture(scope="module")
def where(pictograms_dir):
    """Where names of corpora are looked up."""
    return inputs.Where(pictograms_dir, 2)


@pytest.fixture(scope="module")
def pictures(pictograms_dir) -> list[bytes]:
    """Some encoded images."""
    source = corpora.find("pictograms", pictograms_dir).open("test_unseen_both")
    return [source[row].image for row in range(6)]
