"""Embeddings of a real model, kept as a store's user keeps them, and the code of the docs' page."""

import re
from pathlib import Path

import numpy as np
import pytest

from aligngap.gap import GapTransform

ROOT = Path(__file__).parents[3]
REAL = ROOT / "tests" / "data" / "quickstart_clip.npz"  # see tests/laboratory/test_shift.py
WIDTH = 32  # of 256 dimensions, lest a covariance need more rows than there are


@pytest.fixture
def fitted_on():
    """(image, text) [79, 32], of any length."""
    return tuple(x[::2] for x in real())


@pytest.fixture
def clouds():
    """(image, text, query) [39 or 40, 32] float32 of any length, which nothing is fitted on."""
    image, text = real()
    return image[1::4], text[1::4], text[3::4]


def real():
    with np.load(REAL) as held:
        rows = [held[name][:, :WIDTH].astype(np.float32) for name in ("image", "text")]
    lengths = np.random.default_rng(0).uniform(0.5, 2, (2, len(rows[0]), 1)).astype(np.float32)
    return [x * length for x, length in zip(rows, lengths, strict=True)]


@pytest.fixture
def fit(fitted_on):
    """method → a transform; queries have a mean of their own."""

    def make(method, **options):
        return GapTransform.fit(*fitted_on, method, fitted_on[1] + 0.3 * fitted_on[0], **options)

    return make


@pytest.fixture
def kept(clouds, tmp_path, monkeypatch):
    """A working folder with image.npy, text.npy and query.npy."""
    monkeypatch.chdir(tmp_path)
    for name, rows in zip(("image", "text", "query"), clouds, strict=True):
        np.save(tmp_path / f"{name}.npy", rows)
    return tmp_path


@pytest.fixture
def wanted(clouds):
    """transform → cosines [queries, images then texts] in float64, by NumPy."""

    def cosines(transform):
        image, text, query = clouds
        documents = np.concatenate([transform.image(image), transform.text(text)])
        return transform.query(query).astype(np.float64) @ documents.astype(np.float64).T

    return cosines


@pytest.fixture
def blocks():
    """(title, language) → the code under that title of the page."""
    text = (ROOT / "docs" / "vector_stores.md").read_text(encoding="utf-8")

    def find(title, language="python"):
        (section,) = re.findall(rf"^##+ {title}\n(.*?)(?=^##|\Z)", text, re.DOTALL | re.MULTILINE)
        found = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
        assert found
        return found

    return find


@pytest.fixture
def page(blocks):
    """(title, names) → names, once the Python under that title of the page has run with them."""

    def run(title, names=None):
        names = {} if names is None else names
        for block in blocks(title):
            exec(compile(block, f"docs/vector_stores.md: {title}", "exec"), names)
        return names

    return run


@pytest.fixture
def same_ranking():
    """(ids [queries, k], scores): an AssertionError unless they are the best, in their order."""

    def check(ids, scores):
        np.testing.assert_array_equal(ids, np.argsort(-scores, axis=1)[:, : np.shape(ids)[1]])

    return check
