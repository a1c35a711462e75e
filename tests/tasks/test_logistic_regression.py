"""Logistic regression against scikit-learn's, by Newton's method in float64."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from aligngap.tasks.labelled import Rows
from aligngap.tasks.logistic_regression import Regression


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def in_a_cone(count, seed, classes=6, width=48):
    """As embeddings are: far from the origin, and nearly flat along most axes."""
    random = np.random.default_rng(seed)
    middle, *means = np.random.default_rng(99).normal(size=(classes + 1, width))
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, count - classes)])
    own = np.asarray(means)[labels] + 2 * random.normal(size=(count, width))
    return Rows(own * 0.85 ** np.arange(width) + 3 * middle, labels * 10)


def newton(train, l2):
    model = LogisticRegression(C=1 / l2, solver="newton-cg", max_iter=1000, tol=1e-10)
    return model.fit(unit(train.features), train.labels)


def expect_same(found, wanted, share):
    """Of what a softmax sees: a number added to all classes is none of it."""
    own, other = (
        each - each.mean(axis=0)
        for each in (
            np.c_[found.weights, found.biases],
            np.c_[wanted.coef_, wanted.intercept_],
        )
    )
    np.testing.assert_allclose(own, other, atol=share * np.abs(other).max())
    assert np.array_equal(found.classes, wanted.classes_)


@pytest.mark.parametrize("l2", [1e-3, 0.1, 10.0, 1e4])
def test_matches_newtons_method(l2):
    train = in_a_cone(1500, 0)
    expect_same(Regression(train).fit(l2), newton(train, l2), 1e-3)


def test_fewer_rows_than_features():
    train = in_a_cone(20, 0)
    expect_same(Regression(train).fit(0.1), newton(train, 0.1), 1e-3)


def test_where_it_starts_changes_nothing():
    regression = Regression(in_a_cone(400, 0))
    cold = regression.fit(0.1)
    for other in (1e-4, 1e3):
        warm = regression.fit(0.1, start=regression.fit(other))
        np.testing.assert_allclose(
            warm.weights, cold.weights, atol=1e-3 * np.abs(cold.weights).max()
        )


def test_the_order_of_rows_changes_no_prediction():
    """Nor, likewise, does the number of threads that add them up."""
    train, test = in_a_cone(1500, 0), in_a_cone(2000, 1)
    found = []
    for seed in range(3):
        made = Regression(train.take(np.random.default_rng(seed).permutation(1500))).fit(1e-2)
        found.append((unit(test.features) @ made.weights.T + made.biases).argmax(axis=1))
    assert np.mean(found[0] != found[1]) <= 1e-3
    assert np.mean(found[0] != found[2]) <= 1e-3


def test_equal_rows_say_nothing():
    found = Regression(Rows(np.ones((40, 3)), np.repeat(np.arange(4), 10))).fit(1.0)
    np.testing.assert_allclose(found.biases - found.biases.mean(), 0, atol=1e-5)
    np.testing.assert_allclose(found.weights, 0, atol=1e-5)
