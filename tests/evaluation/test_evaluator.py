"""Which splits an entry means."""

import pytest

from aligngap.evaluation import evaluator
from aligngap.presets import preset

TESTS = ("test_unseen_style", "test_unseen_concept", "test_unseen_both")


@pytest.mark.parametrize(
    ("wanted", "splits"),
    [
        ("", ()),
        ("tests", TESTS),
        ("test_unseen_both", TESTS[2:]),
        ("validation, tests,stamps/test", ("validation", *TESTS, "stamps/test")),
        ("test_unseen_both,tests", (TESTS[2], *TESTS[:2])),
    ],
)
def test_splits_of_an_entry(wanted, splits):
    config = preset("clip")
    assert evaluator.splits(config, config.evaluators.gap, wanted) == splits
