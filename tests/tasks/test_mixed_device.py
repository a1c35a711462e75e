"""Mixed pools that the device counts in float32 against float64 alone: equal numbers, ties too."""

import dataclasses

import numpy as np
import pytest

from aligngap.tasks import first_places, many_modalities, mixed_device, mixed_pool, search, standings
from aligngap.tasks.mixed_pool import Right, chunks_of
from aligngap.unit import unit_rows_numpy

ITEMS, QUERIES, WIDTH = 300, 70, 6


def pool(modalities=2, seed=0, dtype=np.float32):
    """Rows of items in each modality with something in common and a gap, and of queries."""
    random = np.random.default_rng(seed)
    base = random.normal(size=(ITEMS, WIDTH))
    each = [
        unit_rows_numpy(base + random.normal(size=base.shape) * 0.8 + shift).astype(dtype)
        for shift in np.linspace(0, 0.5, modalities + 1)
    ]
    return each[:-1], each[-1][:QUERIES]


def several(seed=1):
    """Pairs: some queries have up to five right items."""
    random = np.random.default_rng(seed)
    grades = np.eye(QUERIES, ITEMS) + (random.random((QUERIES, ITEMS)) < 0.006)
    query, item = np.nonzero(grades)
    return Right(query, item, grades[query, item])


def numbers(each):
    """Of each item those of its rows, equal for equal rows."""
    rows = np.unique(np.concatenate(each), axis=0, return_inverse=True)[1]
    return rows.reshape(len(each), -1).T


@pytest.fixture
def both_ways(monkeypatch):
    """A pool as float64 sees it, and as the device does, in blocks and parts that are not full."""
    taken = []

    def scanned(each, query, right, grid=search.MIXTURES, most=20, rows=130):
        chunks = chunks_of(*each, rows=rows)
        call = (chunks, query, right, np.array(grid), most, [str(k) for k in range(len(each))])
        wanted = mixed_pool.scan(*call)
        monkeypatch.setattr(standings, "ON_DEVICE_FROM", 0)
        monkeypatch.setattr(mixed_device, "PAIRS", 32)
        monkeypatch.setattr(mixed_device, "ITEMS", 48)
        monkeypatch.setattr(first_places, "RENDERINGS_AT_ONCE", 300)
        monkeypatch.setattr(
            mixed_device.mixed_counts, "count_each", counted(mixed_device.mixed_counts.count_each)
        )
        found = mixed_pool.scan(*call)
        return wanted, found, sum(taken)

    def counted(count_each):
        def of(counts, row, scores, bars):
            taken.append(len(row))
            count_each(counts, row, scores, bars)

        return of

    return scanned


def same(found, wanted, best=True):
    for field in dataclasses.fields(wanted):
        one, other = getattr(found, field.name), getattr(wanted, field.name)
        if field.name == "best_scores":
            np.testing.assert_allclose(one, other, atol=1e-14)
        elif field.name != "best_items" or best:
            np.testing.assert_array_equal(one, other, err_msg=field.name)


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_images_and_texts(both_ways, dtype):
    each, query = pool(dtype=dtype)
    wanted, found, single = both_ways(each, query, Right.own(QUERIES))
    same(found, wanted)
