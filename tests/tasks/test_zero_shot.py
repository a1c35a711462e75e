"""Zero-shot accuracies against a plain loop and scikit-learn; few classes, ties, wrong labels."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from aligngap.errors import AligngapError
from aligngap.intervals import Interval
from aligngap.tasks import zero_shot


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def problem(classes=12, images=300, width=7):
    random = np.random.default_rng(0)
    image = unit(random.normal(size=(images, width))).astype(np.float32)
    text = [random.normal(size=(random.integers(1, 5), width)) for _ in range(classes)]
    return image, text, random.integers(0, classes, images), random.integers(0, 60, images)


def test_matches_a_loop_in_float64():
    image, text, labels, clusters = problem()
    means = []
    for templates in text:
        mean = np.mean([row / np.sqrt((row**2).sum()) for row in templates], axis=0)
        means.append(mean / np.sqrt((mean**2).sum()))
    order = [np.argsort([-(row.astype(np.float64) @ mean) for mean in means]) for row in image]
    top1 = np.array([ranks[0] == label for ranks, label in zip(order, labels, strict=True)])
    top5 = np.array([label in ranks[:5] for ranks, label in zip(order, labels, strict=True)])
    found = zero_shot.classify(image, text, labels, clusters, seed=0)
    assert found["acc1"].value == pytest.approx(top1.mean(), abs=1e-12)
    assert found["acc5"].value == pytest.approx(top5.mean(), abs=1e-12)
    balanced = balanced_accuracy_score(labels, [ranks[0] for ranks in order])
    assert found["mean_per_class_recall"].value == pytest.approx(balanced, abs=1e-12)
    assert found["acc1"].chance == found["mean_per_class_recall"].chance == 1 / 12
    assert found["acc5"].chance == 5 / 12


def test_templates_count_by_direction_not_by_length():
    text = [np.array([[1.0, 0.0], [0.0, 100.0]])]
    np.testing.assert_allclose(zero_shot.class_embeddings(text), [[0.5**0.5, 0.5**0.5]])


def test_one_class_is_always_right():
    image, _, labels, clusters = problem()
    found = zero_shot.classify(image, [np.ones((2, 7))], labels * 0, clusters, seed=0)
    assert all(result == Interval(1.0, 1.0, 1.0, 1.0) for result in found.values())


def test_classes_of_one_direction_score_chance():
    image, _, labels, clusters = problem(classes=8)
    found = zero_shot.classify(image, [np.ones((1, 7))] * 8, labels, clusters, seed=0)
    for result in found.values():
        assert result.value == pytest.approx(result.chance, abs=1e-12)


def test_classes_that_do_not_occur_are_left_out_of_the_mean():
    text = list(np.eye(3)[:, None, :])
    image, labels = np.eye(3)[[0, 0, 1]], np.array([0, 0, 0])
    found = zero_shot.classify(image, text, labels, np.arange(3), seed=0)
    assert found["mean_per_class_recall"].value == pytest.approx(2 / 3)


def test_opposite_templates_have_no_direction_and_give_no_error():
    text = [np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([[0.0, 1.0]])]
    found = zero_shot.classify(np.array([[0.0, 1.0]]), text, np.array([1]), np.array([0]), seed=0)
    assert found["acc1"].value == 1.0


def test_a_label_beyond_the_classes_is_refused():
    image, text, labels, clusters = problem()
    with pytest.raises(AligngapError, match="no candidate of its label"):
        zero_shot.classify(image, text, labels + 5, clusters, seed=0)
