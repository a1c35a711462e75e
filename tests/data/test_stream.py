"""The stream is a pure function of (seed, position): orders of one corpus, turns of several."""

import pickle

import numpy as np
import pytest

from aligngap.data import stream
from aligngap.data.stream import Blocks, Drawn, Mixed, Shuffled

SIZES = (1, 2, 7, 500, 1024, 1500)


def orders(length, seed=0):
    blocks = stream.even_blocks(length, 64)
    uneven = np.unique(np.array([0, 1, 5, 40, 41, 300, length]).clip(max=length)).astype(np.uint64)
    return [
        Shuffled(length, seed),
        Blocks(blocks, 4, seed),
        Blocks(uneven, 2, seed),
        Blocks(blocks, 10**6, seed),
    ]


@pytest.mark.parametrize("length", SIZES)
def test_every_row_once_an_epoch_and_each_epoch_in_another_order(length):
    for order in orders(length):
        epochs = [[order[e * length + i] for i in range(length)] for e in range(3)]
        for epoch in epochs:
            np.testing.assert_array_equal(np.sort(epoch), np.arange(length))
        if length > 10:
            assert epochs[0] != epochs[1] != epochs[2]


def test_any_element_alone_is_what_it_is_in_the_stream():
    for order in [*orders(777), Drawn(777, 0)]:
        whole = [order[i] for i in range(2500)]
        asked = np.random.default_rng(0).permutation(2500)[:400]
        fresh = pickle.loads(pickle.dumps(order))
        assert [fresh[int(i)] for i in asked] == [whole[i] for i in asked]


def test_another_seed_is_another_order():
    for a, b in zip(orders(500, 0), orders(500, 1), strict=True):
        assert [a[i] for i in range(500)] != [b[i] for i in range(500)]


def test_blocks_keep_neighbours_within_a_window():
    """Each window of the stream has the rows of four blocks and no others; they are shuffled."""
    order = Blocks(stream.even_blocks(1024, 64), 4, 0)
    firsts = set()
    for window in range(4):
        rows = [order[256 * window + i] for i in range(256)]
        blocks = {row // 64 for row in rows}
        assert len(blocks) == 4
        firsts |= blocks
        assert rows != sorted(rows)
        inversions = np.mean(np.diff(rows) < 0)
        assert 0.4 < inversions < 0.6  # As in a random order.
    assert firsts == set(range(16))
    assert [order[i] // 64 for i in range(0, 1024, 256)] != [0, 4, 8, 12]


def test_blocks_of_100_million_rows_are_found_at_once():
    order = Blocks(stream.even_blocks(100_000_000, 1000), 8, 0)
    last = [order[i] for i in range(100_000_000 - 8000, 100_000_000)]
    assert len(set(last)) == 8000
    assert len({row // 1000 for row in last}) == 8


def test_with_replacement_rows_are_even():
    drawn = np.array([Drawn(10, 3)[i] for i in range(20_000)])
    counts = np.bincount(drawn, minlength=10)
    assert abs(counts - 2000).max() < 5 * (20_000 * 0.1 * 0.9) ** 0.5
    assert len(set(drawn[:10])) < 10  # Some again before others came.


@pytest.mark.parametrize("weights", [(1, 1), (0.7, 0.3), (5, 3, 2), (1, 0, 3), (0.001, 0.999)])
def test_turns_follow_the_weights_at_any_moment(weights):
    segment = stream.segments([(0, weights)])[0]
    shares = np.array(weights) / sum(weights)
    counts = np.zeros(len(weights), int)
    for index in range(5000):
        corpus, turns = stream.turn(segment.weights, index)
        assert turns == counts[corpus]
        counts[corpus] += 1
        assert np.abs(counts - (index + 1) * shares).max() <= 1.0 if len(weights) == 2 else 1.5
    np.testing.assert_allclose(counts / 5000, shares, atol=1e-3)


@pytest.mark.parametrize("weights", [(0.7, 0.3), (5, 3, 2)])
def test_each_batch_has_its_share(weights):
    segment = stream.segments([(0, weights)])[0]
    for batch in range(50):
        turns = [stream.turn(segment.weights, 256 * batch + i)[0] for i in range(256)]
        counts = np.bincount(turns, minlength=len(weights))
        assert np.abs(counts - 256 * np.array(weights) / sum(weights)).max() <= len(weights)


def test_corpora_go_on_where_they_were_when_weights_change():
    schedule = [(0, (1.0, 0.0)), (100, (0.5, 0.5)), (300, (0.2, 0.8))]
    mixed = Mixed([Shuffled(60, 1), Shuffled(40, 2)], stream.segments(schedule))
    places = [mixed[i] for i in range(1000)]
    for corpus, order in enumerate(mixed.orders):
        own = [place.row for place in places if place.corpus == corpus]
        assert own == [order[i] for i in range(len(own))]
    count = [
        sum(place.corpus for place in places[a:b]) for a, b in ((0, 100), (100, 300), (300, 1000))
    ]
    assert count == [0, 100, 560]
    for index in (0, 1, 100, 101, 299, 300, 301, 1000):
        before = [sum(place.corpus == corpus for place in places[:index]) for corpus in range(2)]
        assert stream.turns_before(mixed.segments, index) == before
    again = pickle.loads(pickle.dumps(mixed))
    assert [again[i] for i in (999, 0, 299, 300, 100)] == [
        places[i] for i in (999, 0, 299, 300, 100)
    ]
