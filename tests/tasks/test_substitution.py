"""A classifier of one modality given the other: against scikit-learn's, at the chosen λ."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from aligngap.tasks import substitution
from aligngap.tasks.labelled import Rows
from aligngap.tasks.substitution import Target


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def sides(count, seed, turned=False, classes=6, width=10):
    """image and text rows of the same classes; turned: in other dimensions."""
    random = np.random.default_rng(seed)
    means = np.random.default_rng(50).normal(size=(classes, width))
    labels = np.arange(count) % classes
    noise = 0.8 * random.normal(size=(2, count, width))
    image, text = unit(means[labels] + noise[0]), unit(means[labels] + noise[1])
    return {"image": Rows(np.roll(image, 3 * turned, axis=1), labels), "text": Rows(text, labels)}


def values(turned):
    parts = [sides(count, seed, turned) for count, seed in ((120, 0), (90, 1), (150, 2))]
    trained = substitution.classifiers(*parts[:2])
    tested = {name: Target(rows, np.arange(150)) for name, rows in parts[2].items()}
    return trained, parts, substitution.evaluate(trained, tested, seed=0)


def test_matches_scikit_learn_both_ways():
    trained, (train, _, test), found = values(turned=False)
    assert len(found) == 8
    for source in ("image", "text"):
        strength = {"C": 1 / trained[source].l2, "solver": "newton-cg", "tol": 1e-10}
        model = LogisticRegression(**strength, max_iter=1000)
        model.fit(*train[source])
        for target in ("image", "text"):
            wanted = model.score(*test[target])
            got = found[f"{source}_to_{target}/acc1"]
            assert got.value == pytest.approx(wanted, abs=0.007)  # One row on the border.
            assert got.chance == pytest.approx(1 / 6)


def test_what_is_told_in_other_dimensions_cannot_be_substituted():
    together, apart = values(turned=False)[2], values(turned=True)[2]
    near = together["image_to_image/acc1"].value
    assert together["text_to_image/acc1"].value == pytest.approx(near, abs=0.1)
    assert apart["image_to_image/acc1"].value == pytest.approx(near, abs=0.03)
    assert apart["text_to_image/acc1"].value < near - 0.4
