"""Real pairs, and the command that makes corpora of them."""

import numpy as np
import pytest

from aligngap.data import corpora
from aligngap.data.sources.prepare import Request, prepare
from aligngap.data.sources.raw import Columns, Rules
from aligngap.data.sources.splitting import Splitting

from forms import Pair


@pytest.fixture(scope="session")
def pairs(pictograms_dir) -> list[Pair]:
    """300 pictures of the pictograms, no two alike, with one to three names each."""
    source = corpora.find("pictograms", pictograms_dir).open("train")
    rows = np.random.default_rng(0).choice(len(source), 400, replace=False)
    found = {}
    for row in rows.tolist():
        record = source[row]
        names = list(dict.fromkeys(record.captions))[:3]
        found[record.image] = Pair(f"{row:06d}", record.image, names)
    return sorted(found.values())[:300]


@pytest.fixture
def make(tmp_path):
    """(source, name, ...) → the corpus made of it, in tmp_path/data."""

    def made(given, name="mine", roles=None, columns=None, rules=None, splitting=None, **kw):
        request = Request(
            name,
            {"": str(given), **(roles or {})},
            columns or Columns(),
            rules or Rules(),
            splitting or Splitting(),
            **kw,
        )
        prepare(request, tmp_path / "data", 1)
        return corpora.find(name, tmp_path / "data")

    return made
