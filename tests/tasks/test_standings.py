"""What the device counts in float32 against float64 of all products: equal numbers, ties too."""

import resource

import jax
import numpy as np
import pytest

from aligngap.tasks import retrieval, standings
from aligngap.tasks.standings import Side, Standings


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def reference(queries, candidates, query_labels, labels):
    """(better, positives, negatives) of each query, from all float64 products at once."""
    scores = queries.astype(np.float64) @ candidates.astype(np.float64).T
    right = query_labels[:, None] == labels
    best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
    tied = abs(scores - best) <= standings.TIE
    return np.stack([(scores > best + standings.TIE).sum(1), (tied & right).sum(1),
                     (tied & ~right).sum(1)])  # fmt: skip


def check(found: Standings, wanted, most):
    """All that hits are counted from; further back it is enough to be further back."""
    near = wanted[0] < most
    np.testing.assert_array_equal(np.stack(found)[:, near], wanted[:, near])
    assert (found.better[~near] >= most).all()


@pytest.fixture
def small_blocks(monkeypatch):
    """The device's way at a size that takes no time, with blocks that are not full."""
    monkeypatch.setattr(standings, "ON_DEVICE_FROM", 0)
    monkeypatch.setattr(standings, "QUERIES", 32)
    monkeypatch.setattr(standings, "CANDIDATES", 48)


def captioned(images, captions, width, seed, dtype=np.float32):
    """Images with several captions near to them, a label each."""
    random = np.random.default_rng(seed)
    image, own = unit(random.normal(size=(images, width))), np.arange(captions) % images
    text = unit(image[own] + 0.8 * random.normal(size=(captions, width)) / width**0.5)
    return image.astype(dtype), text.astype(dtype), np.arange(images), own


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("width", [2, 64])
def test_five_captions_an_image_in_both_directions(width, dtype):
    image, text, *labels = captioned(101, 505, width, 0, dtype)
    both = standings.mutual(Side(image, labels[0]), Side(text, labels[1]), 10)
    check(both[0], reference(image, text, *labels), 10)
    check(both[1], reference(text, image, *labels[::-1]), 10)
    alone = standings.standings(Side(image, labels[0]), Side(text, labels[1]), 10)
    check(alone, reference(image, text, *labels), 10)


@pytest.mark.usefixtures("small_blocks")
def test_what_float32_cannot_tell_apart():
    """Candidates 1e-8 from the right one: before, behind, and within a tie's width of it."""
    random = np.random.default_rng(0)
    query = unit(random.normal(size=(60, 3)))
    steps = np.concatenate([random.normal(size=300) * 1e-8, [0, 0, 1e-12, -1e-12, 5e-10]])
    angles = 0.7 + steps
    aside = unit(np.cross(query, random.normal(size=3)))
    text = np.cos(angles)[:, None] * query[0] + np.sin(angles)[:, None] * aside[0]
    labels = np.arange(60) % 5, np.arange(len(text)) % 5
    both = standings.mutual(Side(query, labels[0]), Side(text, labels[1]), 10)
    wanted = reference(query, text, *labels)
    assert (wanted[2] > 0).any() and (wanted[0] > 0).any()
    check(both[0], wanted, 10)
    check(both[1], reference(text, query, *labels[::-1]), 10)


@pytest.mark.usefixtures("small_blocks")
def test_everything_at_one_point_and_duplicates():
    point = np.full((1, 7), 7**-0.5, np.float32)
    image, text = np.repeat(point, 90, axis=0), np.repeat(point, 130, axis=0)
    labels = np.arange(90) % 30, np.arange(130) % 30
    found = standings.mutual(Side(image, labels[0]), Side(text, labels[1]), 10)
    check(found[0], reference(image, text, *labels), 10)
    image, text, *labels = captioned(40, 80, 5, 1)
    image, text = np.repeat(image, 2, axis=0), np.repeat(text, 2, axis=0)
    labels = [np.repeat(each, 2) for each in labels]
    found = standings.mutual(Side(image, labels[0]), Side(text, labels[1]), 10)
    check(found[1], reference(text, image, *labels[::-1]), 10)


@pytest.mark.usefixtures("small_blocks")
def test_one_label_and_one_item():
    image, text, *_ = captioned(50, 70, 4, 2)
    labels = np.zeros(50, int), np.zeros(70, int)
    found = standings.mutual(Side(image, labels[0]), Side(text, labels[1]), 10)
    assert not found[0].better.any() and not found[1].negatives.any()
    one = Side(image[:1], np.array([3]))
    assert [each.tolist() for each in standings.mutual(one, one, 10)[0]] == [[0], [1], [0]]


@pytest.mark.usefixtures("small_blocks")
def test_under_the_mesh_of_a_training_run():
    image, text, *labels = captioned(70, 210, 8, 3)
    wanted = retrieval.values(image, text, *labels)
    with jax.set_mesh(jax.make_mesh((jax.device_count(),), ("data",))):
        assert retrieval.values(image, text, *labels) == wanted


def test_many_more_than_fit_into_a_block():
    """10,000 images and 50,000 captions in 64 dimensions: the numbers of float64, for a part of
    them, and no array of all 2 GB of products."""
    image, text, *labels = captioned(10_000, 50_000, 64, 4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = retrieval.scores(image, text, *labels)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**19  # KiB
    rows = np.arange(0, 50_000, 997)
    wanted = reference(text[rows], image, labels[1][rows], labels[0])
    for k in (1, 5, 10):
        hits = found[f"image_retrieval_recall@{k}"].items[rows]
        np.testing.assert_array_equal(hits, wanted[0] < k)
