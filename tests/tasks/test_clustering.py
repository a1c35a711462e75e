"""Pooled clustering against entropies written out, and scikit-learn's k-means as published."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from aligngap.errors import AligngapError
from aligngap.tasks import clustering
from aligngap.tasks.labelled import Rows


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def blobs(count=90, classes=5, width=8, gap=0.0, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    means = 4 * random.normal(size=(classes, width))
    offset = gap * np.eye(width)[0]
    image, text = (means[labels] + random.normal(size=(count, width)) for _ in range(2))
    return unit(image + offset), unit(text - offset), labels * 3


def evaluated(image, text, labels, seeds):
    return clustering.evaluate(Rows(image, labels), Rows(text, labels), seeds)


def entropy(*columns):
    _, counts = np.unique(np.stack(columns), axis=1, return_counts=True)
    shares = counts / counts.sum()
    return -np.sum(shares * np.log(shares))


def by_hand(classes, clusters):
    """(V-measure, NMI by the geometric mean) from entropies."""
    own, other, both = entropy(classes), entropy(clusters), entropy(classes, clusters)
    shared = own + other - both
    homogeneity, completeness = shared / own, shared / other
    return 2 * homogeneity * completeness / (homogeneity + completeness), shared / np.sqrt(
        own * other
    )


def test_matches_the_published_protocol():
    """CL_gap's: text and image in one pool, KMeans(classes, random_state=0), labels twice."""
    image, text, labels = blobs(gap=1.0)
    clusters = KMeans(5, random_state=0).fit_predict(np.concatenate([image, text]))
    found = evaluated(image, text, labels, seeds=(0,))
    wanted = by_hand(np.tile(labels, 2), clusters)
    assert found["pooled/v_measure"].value == pytest.approx(wanted[0], abs=1e-9)
    assert found["pooled/nmi"].value == pytest.approx(wanted[1], abs=1e-9)
    alone = by_hand(labels, KMeans(5, random_state=0).fit_predict(image))
    assert found["image/v_measure"].value == pytest.approx(alone[0], abs=1e-9)


def test_a_gap_costs_the_pool_and_no_modality():
    near, far = (evaluated(*blobs(gap=g), seeds=(0, 1, 2)) for g in (0.0, 30.0))
    assert near["pooled/v_measure"].value > 0.9
    assert far["pooled/v_measure"].value < near["pooled/v_measure"].value - 0.1


def test_seeds_are_a_mean_and_its_ends():
    image, text, labels = blobs(classes=12, width=3)
    each = [evaluated(image, text, labels, (s,))["image/nmi"].value for s in (0, 1, 2)]
    found = evaluated(image, text, labels, (0, 1, 2))["image/nmi"]
    assert (found.value, found.low, found.high) == pytest.approx(
        (np.mean(each), min(each), max(each))
    )


def test_noise_scores_chance_which_is_far_from_0():
    random = np.random.default_rng(0)
    image, text = (unit(random.normal(size=(200, 16))) for _ in range(2))
    for found in evaluated(image, text, np.arange(200) % 40, seeds=(0, 1)).values():
        assert found.chance > 0.3
        assert found.value == pytest.approx(found.chance, abs=0.06)


def test_one_class_and_one_item_are_trivially_found():
    image, text, labels = blobs(6)
    for found in evaluated(image, text, labels * 0, seeds=(0,)).values():
        assert found.value == found.chance == 1.0
    for found in evaluated(image[:1], text[:1], labels[:1], seeds=(0,)).values():
        assert found.value == 1.0


def test_copies_leave_clusters_empty_without_an_error():
    rows = np.repeat(np.eye(3), 4, axis=0).astype(np.float16)
    labels = np.arange(12) % 6
    found = clustering.agreement(rows, labels, seeds=(0,))
    assert found["v_measure"].value == pytest.approx(by_hand(labels, np.repeat(np.arange(3), 4))[0])


def test_bad_input_is_told():
    with pytest.raises(AligngapError, match="3 embeddings cannot make 4 clusters"):
        clustering.assign(np.eye(3), 4, seed=0)
    with pytest.raises(AligngapError, match="embedding 1 of 3"):
        clustering.assign(np.array([[1.0, 0], [np.nan, 0], [0, 1]]), 2, seed=0)
