"""An interval in JSON, and the draws of a bootstrap."""

import numpy as np
import pytest

from aligngap import intervals
from aligngap.intervals import Interval, as_json, resampled_counts


def test_chance_stands_in_json_only_where_there_is_one():
    found = {"with": Interval(0.5, 0.4, 0.6, 0.0), "without": Interval(0.5, 0.4, 0.6)}
    written = as_json(found)
    assert list(written["with"].items()) == [
        ("value", 0.5),
        ("low", 0.4),
        ("high", 0.6),
        ("chance", 0.0),
    ]
    assert list(written["without"]) == ["value", "low", "high"]
    assert {name: Interval.from_json(x) for name, x in written.items()} == found


def test_an_end_that_no_number_is_known_of_is_nan():
    found = Interval.from_json({"value": 0.5, "low": None, "high": None})
    assert found.value == 0.5 and np.isnan([found.low, found.high]).all()


def test_an_end_that_is_missing_is_a_key_error():
    with pytest.raises(KeyError, match="high"):
        Interval.from_json({"value": 0.5, "low": 0.4})


def test_every_resample_draws_as_many_clusters_as_there_are():
    counts = np.concatenate(list(resampled_counts(9, 0, 250)))
    assert counts.shape == (250, 9)
    assert (counts.sum(axis=1) == 9).all()


def test_draws_that_are_kept_are_those_that_are_not(monkeypatch):
    kept = [np.concatenate(list(resampled_counts(9, 0, 250))) for _ in range(2)]
    monkeypatch.setattr(intervals, "MOST_KEPT", 0)
    for held in kept:
        np.testing.assert_array_equal(held, np.concatenate(list(resampled_counts(9, 0, 250))))
