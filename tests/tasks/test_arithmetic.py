"""SIMAT's procedure against a loop, its weights, ties, and changes that cannot be measured."""

import numpy as np
import pytest

from aligngap.errors import AligngapError
from aligngap.tasks import arithmetic
from aligngap.tasks.arithmetic import Changes


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def problem(seed=0):
    random = np.random.default_rng(seed)
    image, words = unit(random.normal(size=(40, 5))), unit(random.normal(size=(6, 5)))
    labels = random.integers(0, 8, 40)
    columns = (random.integers(0, n, 60) for n in (40, 6, 6))
    return image, labels, words, Changes(*columns, labels[random.integers(0, 40, 60)])


def test_matches_a_loop():
    image, labels, words, changes = problem()
    found = arithmetic.evaluate(image, labels, words, changes, np.arange(40), seed=0)
    pairs = list(zip(changes.source, changes.target, strict=True))
    weights = [1 / np.sqrt(pairs.count(pair)) for pair in pairs]
    for scale in (0.0, 0.5, 2.0):
        hits = []
        for row, source, target, wanted in zip(*changes, strict=True):
            query = image[row] + scale * (words[target] - words[source])
            cosines = image @ query / np.linalg.norm(query)
            order = [n for n in np.argsort(-cosines) if n != row]
            hits.append(labels[order[0]] == wanted)
        assert found[scale].value == pytest.approx(np.average(hits, weights=weights), abs=1e-12)
    random = [
        (labels == w).sum() - (labels[row] == w)
        for row, w in zip(changes[0], changes[3], strict=True)
    ]
    assert found[0.0].chance == pytest.approx(np.average(random, weights=weights) / 39)


def test_blocks_give_what_one_block_gives(monkeypatch):
    given = problem()
    whole = arithmetic.hits(*given, 1.0)
    monkeypatch.setattr(arithmetic, "SCORES_AT_ONCE", 40 * 7)
    np.testing.assert_array_equal(arithmetic.hits(*given, 1.0), whole)


def test_a_model_that_adds_up_is_always_right():
    """thing + value, the same for images and for words."""
    things, values = np.eye(10)[:4], np.eye(10)[4:8]
    image = unit(np.array([thing + value for thing in things for value in values]))
    rows = np.repeat(np.arange(16), 3)
    source = rows % 4
    target = (source + np.tile([1, 2, 3], 16)) % 4
    changes = Changes(rows, source, target, rows - source + target)
    found = arithmetic.evaluate(image, np.arange(16), values, changes, np.arange(16), seed=0)
    assert found[1.0].value == 1.0
    assert found[0.0].value == pytest.approx(1 / 6)  # Six others share its thing or its value.
    assert found[0.0].chance == pytest.approx(1 / 15)


def test_ties_share_the_hit_and_everything_at_one_point_is_chance():
    _, labels, words, changes = problem()
    point = np.ones((40, 5), np.float16) / 2
    found = arithmetic.evaluate(point, labels, words, changes, np.arange(40), seed=0)
    for each in found.values():
        assert each.value == pytest.approx(each.chance, abs=1e-12)


def test_intervals_draw_images_not_changes():
    image, labels, words, changes = problem()
    one = arithmetic.evaluate(image, labels, words, changes, np.zeros(40, int), seed=0)[1.0]
    assert (one.low, one.high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("images", "words", "count", "wanted", "said"),
    [
        (40, 1.0, 60, 100, "change 0: no image"),
        (40, 1.0, 0, 0, "0 changes of 40"),
        (1, 1.0, 60, 0, "60 changes of 1 images"),
        (40, np.nan, 60, 0, "word 0 of 6"),
    ],
)
def test_bad_input_is_told(images, words, count, wanted, said):
    image, labels, given, changes = problem()
    changes = Changes(*(column[:count] for column in changes))
    changes = changes._replace(wanted=changes.wanted + wanted)
    rows = image[:images], labels[:images], words * given
    with pytest.raises(AligngapError, match=said):
        arithmetic.evaluate(*rows, changes, np.arange(images), seed=0)
