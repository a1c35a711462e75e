"""Retrieval within a modality against scikit-learn and every order of the ties."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from aligngap.errors import AligngapError
from aligngap.tasks import intra_modal


def cloud(count, width, seed):
    rows = np.random.default_rng(seed).normal(size=(count, width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_matches_scikit_learn_and_a_loop():
    rows, labels = cloud(80, 5, 0), np.random.default_rng(1).integers(0, 6, 80)
    found = intra_modal.evaluate(rows, labels, np.arange(80), seed=0)
    precisions, hits = [], []
    for query in range(80):
        others = np.delete(np.arange(80), query)
        scores, right = rows[others] @ rows[query], labels[others] == labels[query]
        precisions.append(average_precision_score(right, scores))
        hits.append([right[np.argsort(-scores)[:k]].any() for k in (1, 5, 10)])
    assert found["map"].value == pytest.approx(np.mean(precisions), abs=1e-12)
    for k, column in zip((1, 5, 10), np.transpose(hits), strict=True):
        assert found[f"recall@{k}"].value == pytest.approx(column.mean(), abs=1e-12)


def test_blocks_give_what_one_block_gives(monkeypatch):
    given = cloud(50, 4, 0), np.arange(50) % 7, np.arange(50)
    whole = intra_modal.evaluate(*given, seed=0)
    monkeypatch.setattr(intra_modal, "SCORES_AT_ONCE", 50 * 8)
    assert intra_modal.evaluate(*given, seed=0) == whole


def test_ties_count_by_expectation_over_all_orders():
    random = np.random.default_rng(3)
    for _ in range(20):
        levels = np.array([1.0, *(random.integers(0, 3, 6) / 4)])  # The query, then candidates.
        rows = np.stack([levels, np.sqrt(1 - levels**2)], axis=1)
        labels = np.array([0, 0, *random.integers(0, 2, 5)])
        precisions, hits = [], []
        for order in itertools.permutations(range(1, 7)):
            ranked = sorted(order, key=lambda j: -levels[j])
            right = labels[ranked] == 0
            places = np.flatnonzero(right) + 1
            precisions.append(np.mean(np.arange(1, len(places) + 1) / places))
            hits.append(right[:2].any())
        scores = intra_modal._scores(rows, labels, np.array([0]), (2,))
        found = np.concatenate(list(scores))[0]
        assert found == pytest.approx([np.mean(precisions), np.mean(hits)], abs=1e-12)


def test_everything_at_one_point_scores_exactly_chance():
    rows = np.repeat(cloud(1, 9, 0), 60, axis=0).astype(np.float16)
    labels = np.concatenate([np.zeros(40, int), np.ones(15, int), np.arange(2, 7)])
    for found in intra_modal.evaluate(rows, labels, np.arange(60), seed=0).values():
        assert found.value == pytest.approx(found.chance, abs=1e-12)


def test_random_rows_score_chance():
    found = intra_modal.evaluate(cloud(1200, 32, 0), np.arange(1200) % 12, np.arange(1200), seed=0)
    for name, each in found.items():
        assert each.value == pytest.approx(each.chance, abs=0.035), name


def test_a_row_alone_in_its_class_asks_nothing():
    rows, labels = cloud(30, 4, 0), np.arange(30) // 2
    alone = np.concatenate([labels, [99]])
    found = intra_modal.evaluate(np.concatenate([rows, -rows[:1]]), alone, np.arange(31), seed=0)
    hits = np.concatenate(
        list(intra_modal._scores(np.concatenate([rows, -rows[:1]]), alone, np.arange(30), (1,)))
    )
    assert found["recall@1"].value == pytest.approx(hits[:, 1].mean())


def test_one_class_is_always_right_even_beyond_the_pool():
    found = intra_modal.evaluate(cloud(5, 4, 0), np.zeros(5, int), np.arange(5), seed=0)
    assert all((x.value, x.chance) == (1.0, pytest.approx(1.0)) for x in found.values())


@pytest.mark.parametrize(("count", "labels"), [(1, [0]), (3, [0, 1, 2]), (0, [])])
def test_no_queries_are_told(count, labels):
    with pytest.raises(AligngapError, match="no queries"):
        intra_modal.evaluate(cloud(count, 4, 0), np.array(labels, int), np.arange(count), seed=0)


def test_not_a_number_is_named():
    rows = cloud(4, 3, 0)
    rows[2, 0] = np.inf
    with pytest.raises(AligngapError, match="embedding 2 of 4"):
        intra_modal.evaluate(rows, np.zeros(4, int), np.arange(4), seed=0)
