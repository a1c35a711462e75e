"""Linear probes against scikit-learn, optax's protocol against a plain loop, and bad input."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

from aligngap.errors import AligngapError
from aligngap.tasks import probe
from aligngap.tasks.labelled import Rows
from aligngap.tasks.logistic_regression import Regression


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def rows(count, seed, classes=7, width=12, noise=1.0):
    means = np.random.default_rng(99).normal(size=(classes, width))
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, count - classes)])
    return Rows((means[labels] + noise * random.normal(size=(count, width))) * 3, labels * 10)


@pytest.mark.parametrize("l2", [1e-3, 0.1, 10.0, 1e4])
def test_matches_scikit_learn(l2):
    """Of rows of any length: both see them normalised."""
    train, test = rows(400, 0), rows(300, 1)
    wanted = LogisticRegression(C=1 / l2, max_iter=2000, tol=1e-8)
    wanted.fit(unit(train.features), train.labels)
    found = Regression(train).fit(l2)
    size = np.abs(wanted.coef_).max()
    np.testing.assert_allclose(found.weights, wanted.coef_, atol=0.005 * size)
    scores = wanted.decision_function(unit(test.features))
    guess = wanted.classes_[scores.argmax(axis=1)]
    values = probe.evaluate(found, test, np.arange(300), seed=0)
    near = {"abs": 0.007}  # Two of 300 rows on the border.
    assert values["lp_acc1"].value == pytest.approx(np.mean(guess == test.labels), **near)
    five = top_k_accuracy_score(test.labels, scores, k=5, labels=wanted.classes_)
    assert values["lp_acc5"].value == pytest.approx(five, **near)
    balanced = balanced_accuracy_score(test.labels, guess)
    assert values["lp_mean_per_class_recall"].value == pytest.approx(balanced, abs=0.01)
    assert values["lp_acc1"].chance == pytest.approx(1 / 7)
    assert values["lp_acc5"].chance == pytest.approx(5 / 7)


def test_half_precision_is_learnt_from_in_float32():
    train, test = rows(200, 0), rows(100, 1)
    half = Rows(train.features.astype(np.float16), train.labels)
    found = [probe.hits(Regression(each).fit(1.0), test) for each in (train, half)]
    assert np.mean(found[0] != found[1]) < 0.02


def test_the_strength_is_the_best_on_validation_of_all_that_radford_tries():
    """The search walks a curve with one peak; the reference fits every λ of the fine grid."""
    train, validation = rows(60, 0, noise=2.0), rows(400, 1, noise=2.0)
    found = probe.choose(train, validation)
    accuracies = {}
    for exponent in range(-48, 49, 8):
        model = LogisticRegression(C=10 ** (-exponent / 8), max_iter=1000)
        model.fit(unit(train.features), train.labels)
        accuracies[exponent] = model.score(unit(validation.features), validation.labels)
    reached = probe.hits(found, validation)[:, 0].mean()
    assert reached >= max(accuracies.values()) - 1 / 400
    assert np.log10(found.l2) * 8 == pytest.approx(round(np.log10(found.l2) * 8), abs=1e-9)
    assert abs(np.log10(found.l2)) < 6  # Neither no regularisation nor nothing but that.


def test_of_equal_strengths_the_largest_is_taken():
    """Two rows a side of a line: every λ classifies them."""
    apart = Rows(
        np.array([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.1], [-1.0, -0.1]]), np.array([0, 0, 1, 1])
    )
    assert probe.choose(apart, apart).l2 == 1e6


def test_adamw_is_alignclips_protocol():
    """Every step of a plain NumPy AdamW, on one batch that holds all rows."""
    train = rows(70, 0, classes=3, width=4)
    features = np.c_[unit(train.features), np.ones(70)]
    target = np.eye(3)[train.labels // 10]
    parameters, m, v = np.zeros((3, 5)), 0.0, 0.0
    for step in range(32):
        scores = features @ parameters.T
        shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        slope = (shares - target).T @ features / 70
        m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
        corrected = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.999 ** (step + 1))
        change = corrected[0] / (np.sqrt(corrected[1]) + 1e-8) + 0.01 * parameters
        parameters = parameters - 0.005 * (1 + np.cos(np.pi * step / 32)) / 2 * change
    found = probe.fit_by_adamw(train, seed=0)
    np.testing.assert_allclose(np.c_[found.weights, found.biases], parameters, atol=1e-5)


def test_adamw_learns_in_batches():
    train, test = rows(4000, 0), rows(300, 1)
    reference = LogisticRegression().fit(unit(train.features), train.labels)
    found = probe.hits(probe.fit_by_adamw(train, seed=0), test)[:, 0].mean()
    assert found == pytest.approx(reference.score(unit(test.features), test.labels), abs=0.05)


def test_classes_that_were_never_trained_are_never_found():
    train, test = rows(100, 0), rows(100, 1)
    unknown = Rows(test.features, np.where(np.arange(100) < 25, 5, test.labels))
    found = probe.evaluate(Regression(train).fit(1.0), unknown, np.arange(100), seed=0)
    known = probe.evaluate(
        Regression(train).fit(1.0), unknown.take(np.arange(25, 100)), np.arange(75), seed=0
    )
    assert found["lp_acc1"].value == pytest.approx(0.75 * known["lp_acc1"].value)
    assert found["lp_acc1"].chance == pytest.approx(0.75 / 7)
    other = Rows(np.eye(12)[:1], np.array([5]))
    nothing = probe.evaluate(Regression(train).fit(1.0), other, np.zeros(1, int), 0)
    assert nothing["lp_acc1"].value == 0.0


def test_features_that_say_nothing_score_chance():
    """Equal rows: every class ties where classes are balanced."""
    train = Rows(np.ones((40, 3)), np.repeat(np.arange(4), 10))
    found = probe.evaluate(Regression(train).fit(1.0), train, np.arange(40), seed=0)
    assert found["lp_acc1"].value == pytest.approx(0.25)
    assert found["lp_acc5"].value == 1.0


def test_few_shot_draws_each_class_and_says_its_spread():
    train, validation, test = rows(300, 0), rows(150, 1), rows(200, 2)
    picked = probe.draw(train.labels, 4, seed=0)
    assert np.bincount(train.labels[picked] // 10).tolist() == [4] * 7
    assert len(set(picked)) == 28
    found = probe.few_shot(train, validation, test, 2, seeds=(0, 1))
    each = [
        probe.hits(probe.choose(train.take(probe.draw(train.labels, 2, s)), validation), test)[
            :, 0
        ].mean()
        for s in (0, 1)
    ]
    got = found["lp_acc1"]
    assert (got.value, got.low, got.high) == pytest.approx((np.mean(each), min(each), max(each)))
    assert got.low < got.high and got.value > got.chance == pytest.approx(1 / 7)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda r: Regression(Rows(r.features, r.labels * 0)).fit(1.0), "at least two classes"),
        (lambda r: Regression(r.take(np.arange(1))).fit(1.0), "at least two classes .* found 1"),
        (
            lambda r: Regression(Rows(r.features * np.nan, r.labels)).fit(1.0),
            "training row 0 of 50",
        ),
        (lambda r: probe.choose(r, Rows(r.features, r.labels + 1)), "no validation row"),
        (lambda r: probe.draw(r.labels, 30, 0), "30 shots: a class has only"),
    ],
)
def test_bad_input_is_told(broken, words):
    with pytest.raises(AligngapError, match=words):
        broken(rows(50, 0))
