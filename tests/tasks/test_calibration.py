"""Calibration against scikit-learn's bins; ties, one class, one item, perfect and hopeless."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve

from aligngap.tasks import calibration


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.mark.parametrize("scale", [1.0, 8.0, 100.0])
def test_confidences_and_bins_are_those_of_scikit_learn(scale):
    random = np.random.default_rng(0)
    image, classes = unit(random.normal(size=(500, 6))), unit(random.normal(size=(9, 6)))
    labels = random.integers(0, 9, 500)
    probabilities = softmax(scale * image @ classes.T, axis=1)
    confidence, correct = calibration.confidences(image, classes, labels, scale)
    np.testing.assert_allclose(confidence, probabilities.max(axis=1), atol=1e-12)
    np.testing.assert_array_equal(correct, probabilities.argmax(axis=1) == labels)
    right, sure = calibration_curve(correct, confidence, n_bins=15, strategy="uniform")
    places = np.searchsorted(np.linspace(0, 1, 16)[1:-1], confidence)
    weights = np.bincount(places, minlength=15)
    wanted = (abs(right - sure) * weights[weights > 0]).sum() / 500
    found = calibration.expected_calibration_error(confidence, correct)
    assert found == pytest.approx(wanted, abs=1e-12)


def test_edges_belong_to_the_bin_below():
    confidence, correct = np.array([0.0, 1 / 3, 1.0, 2 / 3]), np.array([0.0, 1.0, 1.0, 0.0])
    found = calibration.expected_calibration_error(confidence, correct, bins=3)
    assert found == pytest.approx((abs(1 - 1 / 3) + 2 / 3) / 4)


def test_ties_share_the_guess_and_one_class_is_certain():
    image = np.array([[1.0, 0.0]])
    tied = np.array([[0.6, 0.8], [0.6, -0.8], [0.0, 1.0]])
    confidence, correct = calibration.confidences(image, tied, np.array([0]), 100.0)
    assert (confidence[0], correct[0]) == (pytest.approx(0.5), 0.5)
    assert calibration.expected_calibration_error(confidence, correct) == pytest.approx(0, abs=1e-9)
    sure = calibration.confidences(image, tied[:1], np.array([0]), 100.0)
    assert calibration.expected_calibration_error(*sure) == 0.0
    wrong = calibration.confidences(image, np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([1]), 100)
    assert calibration.expected_calibration_error(*wrong) == pytest.approx(1.0)


def test_blocks_give_what_one_block_gives(monkeypatch):
    random = np.random.default_rng(1)
    given = unit(random.normal(size=(50, 4))), unit(random.normal(size=(7, 4)))
    labels = random.integers(0, 7, 50)
    whole = calibration.confidences(*given, labels, 20.0)
    monkeypatch.setattr(calibration, "SCORES_AT_ONCE", 21)
    np.testing.assert_allclose(whole, calibration.confidences(*given, labels, 20.0), atol=1e-12)
