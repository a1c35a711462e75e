"""Spearman's correlation against SciPy's own, with ties; scores that say nothing."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from aligngap.errors import AligngapError
from aligngap.tasks import text_similarity


def pairs(count=80, seed=0, noise=0.7):
    random = np.random.default_rng(seed)
    first = random.normal(size=(count, 6))
    second = first + noise * random.normal(size=(count, 1)) * random.normal(size=(count, 6))
    cosines = (
        np.sum(first * second, 1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    )
    return first, second, cosines, np.round(5 * cosines + random.normal(size=count))


def test_matches_scipy_with_ties():
    first, second, cosines, scores = pairs()
    assert len(np.unique(scores)) < 20
    found = text_similarity.evaluate(first, second, scores, seed=0)
    assert found.value == pytest.approx(spearmanr(cosines, scores)[0], abs=1e-9)
    assert found.low < found.value < found.high


def test_the_interval_is_of_resampled_pairs(monkeypatch):
    monkeypatch.setattr(text_similarity, "RESAMPLES", 15)
    first, second, cosines, scores = pairs(30)
    random = np.random.default_rng(2)
    rows = random.integers(0, 30, (15, 30))
    draws = [spearmanr(cosines[each], scores[each])[0] for each in rows]
    found = text_similarity.evaluate(first, second, scores, seed=2)
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=1e-7)


def test_blocks_give_what_one_block_gives(monkeypatch):
    first, second, _, scores = pairs()
    whole = text_similarity.evaluate(first, second, scores, seed=0)
    monkeypatch.setattr(text_similarity, "AT_ONCE", 80 * 7)
    monkeypatch.setattr(text_similarity, "RESAMPLES", 2000)
    parts = text_similarity.evaluate(first, second, scores, seed=0)
    assert parts == whole


def test_an_encoder_of_one_point_agrees_with_nothing():
    same = np.ones((20, 4), np.float16)
    found = text_similarity.evaluate(same, same, np.arange(20.0), seed=0)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([1.0, 1.0, 1.0], "3 pairs are all equal"),
        ([1.0, np.nan, 2.0], "pair 1 has a score"),
    ],
)
def test_scores_that_say_nothing_are_told(scores, words):
    with pytest.raises(AligngapError, match=words):
        text_similarity.evaluate(np.eye(3), np.eye(3), np.array(scores), seed=0)


def test_one_pair_is_told():
    with pytest.raises(AligngapError, match="1 pairs are all equal"):
        text_similarity.evaluate(np.eye(1), np.eye(1), np.ones(1), seed=0)
