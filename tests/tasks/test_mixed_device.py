"""Mixed pools that the device counts in float32 against float64 alone: equal numbers, ties too."""

import dataclasses

import numpy as np
import pytest

from aligngap.errors import AligngapError
from aligngap.tasks import (
    first_places,
    many_modalities,
    mixed_device,
    mixed_pool,
    search,
    standings,
)
from aligngap.tasks.mixed_pool import Right, chunks_of
from aligngap.unit import unit_rows_numpy

ITEMS, QUERIES, WIDTH = 300, 40, 6


def pool(modalities=2, seed=0, dtype=np.float32):
    """Rows of items in each modality with something in common and a gap, and of queries."""
    random = np.random.default_rng(seed)
    base = random.normal(size=(ITEMS, WIDTH))
    each = [
        unit_rows_numpy(base + random.normal(size=base.shape) * 0.8 + shift).astype(dtype)
        for shift in np.linspace(0, 0.5, modalities + 1)
    ]
    return each[:-1], each[-1][:QUERIES]


def several(each):
    """Pairs: some queries have up to five right items, one has more than there are pairs in a
    block; of all items the numbers of their rows, equal for equal rows."""
    random = np.random.default_rng(1)
    grades = np.eye(QUERIES, ITEMS) + (random.random((QUERIES, ITEMS)) < 0.006)
    grades[7, ::6] += 1
    query, item = np.nonzero(grades)
    rows = np.unique(np.concatenate(each), axis=0, return_inverse=True)[1]
    return Right(query, item, grades[query, item], rows.reshape(len(each), -1).T)


def agree(monkeypatch, each, query, right, grid=search.MIXTURES, best=True):
    """As float64 sees them, and as the device does, in blocks and parts that are not full."""
    call = (chunks_of(*each, rows=144), query, right, np.array(grid), 20, ["one"] * len(each))
    wanted = mixed_pool.scan(*call)
    monkeypatch.setattr(standings, "ON_DEVICE_FROM", 0)
    monkeypatch.setattr(mixed_device, "PAIRS", 32)
    monkeypatch.setattr(mixed_device, "ITEMS", 48)
    monkeypatch.setattr(first_places, "RENDERINGS_AT_ONCE", 300)
    found = mixed_pool.scan(*call)
    for field in dataclasses.fields(wanted):
        one, other = getattr(found, field.name), getattr(wanted, field.name)
        if field.name == "best_scores":
            np.testing.assert_allclose(one, other, atol=1e-14)
        elif field.name != "best_items" or best:
            np.testing.assert_array_equal(one, other, err_msg=field.name)
    return wanted


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_images_and_texts(monkeypatch, dtype):
    each, query = pool(dtype=dtype)
    agree(monkeypatch, each, query, Right.own(QUERIES))


@pytest.mark.parametrize("known", [True, False])
def test_copies_and_several_right_documents(monkeypatch, known):
    """Shared images, texts, both, and across modalities; known to be copies, or mere ties."""
    (image, text), query = pool(seed=1)
    image[40:60], text[100:140:2] = image[3], text[8]
    image[200:203], text[200:203] = image[5], text[5]
    image[250], text[251] = text[0], image[1]
    right = several((image, text))
    right = right if known else dataclasses.replace(right, rows=None)
    seen = agree(monkeypatch, (image, text), query, right, best=False)
    assert known == (seen.all_tied is not None)
    assert seen.right.any() and (seen.fused_others[:, 1:-1, 1] > 0).any()


def test_three_modalities(monkeypatch):
    """More flags than a word has."""
    each, query = pool(3, seed=2)
    each[2][50:80] = each[0][4]
    agree(monkeypatch, each, query, several(each), many_modalities.mixtures(3), best=False)


def test_what_float32_cannot_tell_apart(monkeypatch):
    """Documents 1e-8 from the right one: before, behind, and within a tie's width of it; lengths
    that are not 1, and fused documents of none."""
    random = np.random.default_rng(3)
    (image, text), query = pool(seed=3, dtype=np.float64)
    near = 10.0 ** random.uniform(-12, -6, (160, 1)) * random.normal(size=(160, WIDTH))
    for rows in (image, text):
        rows[60:220] = rows[np.arange(160) % 40] + near
    text[:160] *= random.uniform(0.1, 3, (160, 1))
    text[290:] = -image[290:]
    agree(monkeypatch, (image, text), query, Right.own(QUERIES), best=False)


def test_everything_at_one_point_and_no_fused_documents(monkeypatch):
    point = np.full((ITEMS, 3), 3**-0.5, np.float32)
    agree(monkeypatch, (point, point), point[:9], Right.own(9), np.empty((0, 2)))


def test_a_row_that_is_not_finite_is_named(monkeypatch):
    each, query = pool()
    each[1][190, 2] = np.inf
    with pytest.raises(AligngapError, match="one 190 is not finite"):
        agree(monkeypatch, each, query, Right.own(QUERIES))
