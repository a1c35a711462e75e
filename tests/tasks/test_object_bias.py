"""MOAD against a loop over all pairs, its interval against resampled rows, and bad input."""

import itertools

import numpy as np
import pytest

from aligngap.errors import AligngapError
from aligngap.intervals import resampled_counts
from aligngap.tasks import object_bias


def problem(count=24, seed=0):
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, 6))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows, random.integers(0, 4, count), random.integers(0, 3, count)


def by_pairs(rows, labels, cluster=None):
    """Mean cosine of pairs that share a label − of those that do not."""
    same, different = [], []
    for i, j in itertools.combinations(range(len(rows)), 2):
        if cluster is None or cluster[i] != cluster[j]:
            (same if labels[i] == labels[j] else different).append(rows[i] @ rows[j])
    return np.mean(same) - np.mean(different)


def test_matches_a_loop_over_pairs():
    rows, objects, attributes = problem()
    found = object_bias.moad(rows, objects, attributes, np.arange(24), seed=0)
    wanted = by_pairs(rows, objects), by_pairs(rows, attributes)
    assert found["object"].value == pytest.approx(wanted[0], abs=1e-12)
    assert found["attribute"].value == pytest.approx(wanted[1], abs=1e-12)
    assert found["moad"].value == pytest.approx(wanted[0] - wanted[1], abs=1e-12)
    assert found["moad"].low < found["moad"].value < found["moad"].high


def test_the_interval_is_of_resampled_rows_without_pairs_of_copies(monkeypatch):
    monkeypatch.setattr(object_bias, "RESAMPLES", 20)
    rows, objects, attributes = problem()
    draws = []
    for counts in np.concatenate(list(resampled_counts(24, 5, 20))).astype(int):
        drawn = np.repeat(np.arange(24), counts)
        parts = [by_pairs(rows[drawn], kind[drawn], drawn) for kind in (objects, attributes)]
        draws.append(parts[0] - parts[1])
    found = object_bias.moad(rows, objects, attributes, np.arange(24), seed=5)["moad"]
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=1e-9)


def test_rows_of_two_draws_of_a_cluster_are_no_pair(monkeypatch):
    """Or what is alike within clusters would count more in every draw than in the value."""
    monkeypatch.setattr(object_bias, "RESAMPLES", 20)
    rows, objects, attributes = problem()
    clusters = np.arange(24) // 3
    objects = objects[clusters]
    draws = []
    for counts in np.concatenate(list(resampled_counts(8, 5, 20))).astype(int):
        drawn = np.repeat(np.arange(8), counts)
        places = np.concatenate([np.flatnonzero(clusters == each) for each in drawn])
        nth = np.repeat(np.arange(8), 3)  # Which of the draws a row is of.
        parts = [by_pairs_of_draws(rows, kind, places, nth) for kind in (objects, attributes)]
        draws.append(parts[0] - parts[1])
    found = object_bias.moad(rows, objects, attributes, clusters, seed=5)["moad"]
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=1e-9)


def by_pairs_of_draws(rows, labels, places, nth):
    same, different = [], []
    for (i, a), (j, b) in itertools.combinations(zip(places, nth, strict=True), 2):
        if a == b or i // 3 != j // 3:
            (same if labels[i] == labels[j] else different).append(rows[i] @ rows[j])
    return np.mean(same) - np.mean(different)


def test_images_of_one_thing_do_not_move_its_interval():
    random = np.random.default_rng(0)
    things, values = (x.ravel() for x in np.meshgrid(np.arange(20), np.arange(3), indexing="ij"))
    group = np.repeat(np.arange(60), 4)
    rows = random.normal(size=(20, 16))[things] + 1.5 * random.normal(size=(60, 16))
    rows = rows[group] + 0.5 * random.normal(size=(240, 16))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    for found in object_bias.moad(rows, things[group], values[group], group, seed=0).values():
        assert abs((found.low + found.high) / 2 - found.value) < 0.1 * (found.high - found.low)


def test_what_is_known_of_objects_or_of_attributes_alone():
    """Rows that say one of the two, in half precision: +1 and −1."""
    objects, attributes = np.repeat(np.arange(3), 3), np.tile(np.arange(3), 3)
    for known, sign in ((objects, 1), (attributes, -1)):
        rows = np.eye(3, dtype=np.float16)[known]
        found = object_bias.moad(rows, objects, attributes, np.arange(9), seed=0)["moad"]
        # Of the six rows with another attribute two have the same object.
        assert np.sign(found.value) == sign
        assert found.value == pytest.approx(sign * 4 / 3)


def test_one_cluster_claims_nothing():
    found = object_bias.moad(*problem(), np.zeros(24, int), seed=0)["moad"]
    assert (found.low, found.high) == (-4.0, 4.0)


@pytest.mark.parametrize(
    ("objects", "attributes", "words"),
    [
        ([0, 0, 0], [0, 0, 1], "all of 3 rows share one object"),
        ([0, 0, 1], [0, 1, 2], "none of 3 rows share one attribute"),
    ],
)
def test_nothing_to_compare_is_told(objects, attributes, words):
    with pytest.raises(AligngapError, match=words):
        object_bias.moad(np.eye(3), np.array(objects), np.array(attributes), np.arange(3), seed=0)


def test_one_item_and_not_a_number_are_told():
    with pytest.raises(AligngapError, match="none of 1 rows"):
        object_bias.moad(np.eye(1), np.zeros(1, int), np.zeros(1, int), np.zeros(1, int), seed=0)
    rows, objects, attributes = problem()
    rows[3] = np.nan
    with pytest.raises(AligngapError, match="embedding 3 of 24"):
        object_bias.moad(rows, objects, attributes, np.arange(24), seed=0)
