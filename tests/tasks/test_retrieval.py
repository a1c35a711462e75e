"""Recall against brute force, exact chance, ties, and labels that cannot be scored."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.special import comb

from aligngap.errors import AligngapError
from aligngap.intervals import Interval
from aligngap.tasks import retrieval, standings


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def cloud(rows, width, seed):
    return unit(np.random.default_rng(seed).normal(size=(rows, width))).astype(np.float32)


def brute_force(queries, candidates, query_labels, candidate_labels, k):
    """Sorts each query's float64 cosines in a loop; for data without ties."""
    hits = []
    for query, label in zip(queries, query_labels, strict=True):
        order = sorted(
            range(len(candidates)),
            key=lambda j: -float(query.astype(np.float64) @ candidates[j].astype(np.float64)),
        )
        hits.append(any(candidate_labels[j] == label for j in order[:k]))
    return np.array(hits, dtype=float)


@pytest.mark.parametrize(("images", "captions"), [(90, 17), (23, 23), (17, 60)])
def test_matches_brute_force_in_both_directions(images, captions):
    image, text = cloud(images, 6, 0), cloud(captions, 6, 1)
    random = np.random.default_rng(2)
    concepts = min(images, captions)
    image_labels = np.concatenate(
        [np.arange(concepts), random.integers(0, concepts, images - concepts)]
    )
    text_labels = np.concatenate(
        [np.arange(concepts), random.integers(0, concepts, captions - concepts)]
    )
    found = retrieval.evaluate(image, text, image_labels, text_labels, seed=0)
    for k in (1, 5, 10):
        expected = brute_force(image, text, image_labels, text_labels, k).mean()
        assert found[f"text_retrieval_recall@{k}"].value == pytest.approx(expected, abs=1e-12)
        expected = brute_force(text, image, text_labels, image_labels, k).mean()
        assert found[f"image_retrieval_recall@{k}"].value == pytest.approx(expected, abs=1e-12)


def test_blocks_give_what_one_block_gives(monkeypatch):
    arguments = cloud(50, 4, 0), cloud(31, 4, 1), np.arange(50) % 31, np.arange(31)
    whole = retrieval.expected_hits(*arguments)
    monkeypatch.setattr(standings, "SCORES_AT_ONCE", 31 * 7)
    monkeypatch.setattr(standings, "CANDIDATES", 8)
    np.testing.assert_array_equal(whole, retrieval.expected_hits(*arguments))


def test_reciprocal_ranks_match_brute_force_and_one_point_scores_chance():
    image, text = cloud(60, 3, 0), cloud(45, 3, 1)
    image_labels, text_labels = np.arange(60) % 20, np.arange(45) % 20
    found = retrieval.reciprocal_ranks(image, text, image_labels, text_labels)
    for row, score in enumerate(found.items):
        order = np.argsort(-(text.astype(float) @ image[row].astype(float)))
        place = 1 + int(np.argmax(text_labels[order] == image_labels[row]))
        assert score == pytest.approx(1 / place if place <= 10 else 0, abs=1e-12)
    assert 0.1 < found.value < 0.9  # Places on both sides of the tenth.
    point = np.repeat(cloud(1, 3, 2), 45, axis=0)
    same = retrieval.reciprocal_ranks(image, point, image_labels, text_labels)
    assert same.value == pytest.approx(same.chance, abs=1e-12)


def test_chance_is_exact():
    query_labels = np.array([0, 0, 1, 2])
    candidate_labels = np.array([0] * 7 + [1] * 2 + [2] * 1 + [3] * 400)
    sizes = [7, 7, 2, 1]
    chances = retrieval.chance_levels(query_labels, candidate_labels)
    for k, found in zip((1, 5, 10), chances, strict=True):
        misses = [Fraction(comb(410 - m, k, exact=True), comb(410, k, exact=True)) for m in sizes]
        expected = float(1 - sum(misses) / 4)
        assert found == pytest.approx(expected, rel=1e-12)


def test_chance_of_many_candidates_does_not_overflow():
    found = retrieval.chance_levels(np.array([0]), np.arange(1_000_000), ks=(10,))
    assert found == pytest.approx([1e-5], rel=1e-9)


def test_random_embeddings_score_chance():
    found = retrieval.evaluate(
        cloud(4000, 32, 0), cloud(200, 32, 1), np.arange(4000) % 200, np.arange(200), seed=0
    )
    for name, result in found.items():
        assert result.value == pytest.approx(result.chance, abs=0.03), name
        assert result.low - 0.01 <= result.chance <= result.high + 0.01, name


def test_everything_at_one_point_scores_exactly_chance():
    point = unit(np.random.default_rng(0).normal(size=(1, 96))).astype(np.float32)
    image, text = np.repeat(point, 530, axis=0), np.repeat(point, 101, axis=0)
    found = retrieval.evaluate(image, text, np.arange(530) % 101, np.arange(101), seed=0)
    for result in found.values():
        assert result.value == pytest.approx(result.chance, abs=1e-12)


def test_ties_count_by_expectation_over_all_orders():
    """Scores drawn from few levels; the reference walks every order of the candidates."""
    random = np.random.default_rng(5)
    for _ in range(30):
        levels = random.integers(0, 3, 6) / 4
        labels = random.integers(0, 2, 6)
        labels[0] = 0
        candidates = np.stack([levels, np.sqrt(1 - levels**2)], axis=1)
        query = np.array([[1.0, 0.0]])
        for k in (1, 2, 4, 6, 9):
            hits = [
                any(labels[j] == 0 for j in sorted(order, key=lambda j: -levels[j])[:k])
                for order in itertools.permutations(range(6))
            ]
            found = retrieval.expected_hits(query, candidates, np.array([0]), labels, ks=(k,))
            assert found[0, 0] == pytest.approx(sum(hits) / math.factorial(6), abs=1e-12)


def test_duplicate_captions_share_the_hit():
    text = np.eye(3, dtype=np.float32)[[0, 0, 1]]
    image = np.eye(3, dtype=np.float32)[[0, 1]]
    hits = retrieval.expected_hits(image, text, np.array([0, 2]), np.array([0, 1, 2]), ks=(1, 2))
    np.testing.assert_allclose(hits, [[0.5, 1.0], [1.0, 1.0]])


def test_more_places_than_candidates_is_a_certain_hit():
    found = retrieval.recall(
        cloud(4, 3, 0), cloud(2, 3, 1), np.array([0, 1, 0, 1]), np.array([0, 1]), ks=(5,), seed=0
    )
    assert found[5] == Interval(1.0, 1.0, 1.0, 1.0)


def test_a_rotation_of_both_modalities_changes_nothing():
    image, text = cloud(60, 8, 0).astype(np.float64), cloud(20, 8, 1).astype(np.float64)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    labels = np.arange(60) % 20, np.arange(20)
    straight = retrieval.evaluate(image, text, *labels, seed=0)
    assert straight == retrieval.evaluate(image @ turn, text @ turn, *labels, seed=0)


def test_a_query_without_a_right_candidate_is_named():
    with pytest.raises(AligngapError, match="query 1 has no candidate"):
        retrieval.recall(cloud(2, 3, 0), cloud(2, 3, 1), np.array([0, 9]), np.array([0, 1]), seed=0)


def test_no_queries_are_refused():
    with pytest.raises(AligngapError, match="no queries"):
        retrieval.recall(
            cloud(0, 3, 0), cloud(2, 3, 1), np.array([], int), np.array([0, 1]), seed=0
        )


def test_not_a_number_is_named():
    image = cloud(3, 4, 0)
    image[2, 1] = np.nan
    with pytest.raises(AligngapError, match="embedding 2 of 3"):
        retrieval.expected_hits(image, cloud(3, 4, 1), np.arange(3), np.arange(3))


def test_shapes_that_differ_are_refused():
    with pytest.raises(AssertionError):
        retrieval.expected_hits(cloud(3, 4, 0), cloud(3, 5, 1), np.arange(3), np.arange(3))
