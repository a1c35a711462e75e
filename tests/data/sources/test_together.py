"""Blocks of neighbours in shards, and values that are made once for all threads."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from aligngap.data.sources import index, together
from aligngap.data.sources.kept import Kept


def places(*shards: int) -> np.ndarray:
    found = np.zeros(len(shards), index.RECORD)
    found["shard"] = shards
    return found


def test_blocks_lie_in_one_shard_each():
    shards = np.repeat([0, 1, 4, 9], [7, 1, 12, 3])  # Of some, a split has no record.
    starts = together.blocks(places(*shards), 5)
    assert starts.tolist() == [0, 5, 7, 8, 13, 18, 20, 23]
    for first, last in itertools.pairwise(starts):
        assert len({*shards[int(first) : int(last)].tolist()}) == 1
    assert together.blocks(places(3), 5).tolist() == [0, 1]


def test_a_value_is_made_once_however_many_threads_ask():
    made, all_there = [], threading.Barrier(8)

    def make(key):
        made.append(key)
        return [key]

    kept = Kept(make, 2)

    def ask(_):
        all_there.wait()
        return kept("a")

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert made == ["a"]
    assert all(value is found[0] for value in found)


def test_the_latest_used_stay_and_what_failed_is_made_again():
    made = []

    def make(key):
        made.append(key)
        if made.count(key) == 1 and key == "bad":
            raise ValueError(key)
        return key

    kept = Kept(make, 2)
    for key in ("a", "b", "a", "c", "a", "b"):
        assert kept(key) == key
    assert made == ["a", "b", "c", "b"]
    with pytest.raises(ValueError, match="bad"):
        kept("bad")
    assert kept("bad") == "bad"
