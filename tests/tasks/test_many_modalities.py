"""Mixed search in three and more modalities against enumeration, simulation, and that of two."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from aligngap.errors import AligngapError
from aligngap.tasks import (
    first_places,
    many_modalities,
    mixed_counts,
    mixed_pool,
    mixed_ranks,
    search,
)
from aligngap.tasks.many_modalities import among_first, even, mixtures, pair
from aligngap.tasks.mixed_pool import Right, chunks_of
from aligngap.unit import unit_rows_numpy

NAMES = ("image", "text", "audio", "video", "touch")
MEASURES = ("ndcg@10", "recall@1", "recall@5", "recall@10", "mrr")


def alike(count, modalities=3, width=6, seed=0):
    """Rows of each modality with something in common and gaps, and queries for them."""
    random = np.random.default_rng(seed)
    base = random.normal(size=(count, width))
    each = [base + (0.6 + 0.2 * k) * random.normal(size=base.shape) for k in range(modalities)]
    each = [rows + 1.2 * k * np.eye(width)[0] for k, rows in enumerate(each)]
    query = base + 0.8 * random.normal(size=base.shape) + np.eye(width)[0]
    return [unit_rows_numpy(rows) for rows in each], unit_rows_numpy(query)


def measured(each, query, right=None, **more):
    right = right or Right.own(len(query))
    names = NAMES[: len(each)]
    return many_modalities.evaluate(chunks_of(*each, **more), query, right, names, 0)


def scored(order, grades, which):
    """The measures of orders [P, N] of items of P pools, and of which modality the first ten are;
    `which` [P, N] by item."""
    ranked = grades[order]
    discounts = 1 / np.log2(np.arange(2, 12))[: min(10, len(grades))]
    best = np.sort(grades)[::-1][:10] @ discounts
    right = ranked > 0
    found = {"ndcg@10": ranked[:, :10] @ discounts / best, "mrr": 1 / (1 + right.argmax(axis=1))}
    found |= {f"recall@{k}": right[:, :k].sum(axis=1) / right.sum(axis=1) for k in (1, 5, 10)}
    first = np.take_along_axis(which, order[:, :10], axis=1)
    return found | {among_first(name): (first == m).mean(axis=1) for m, name in enumerate(NAMES)}


def test_every_mixture_of_eleven_items():
    """All 3 ** 11, each with its chance, of items without ties."""
    each, query = alike(11)
    grades = np.eye(11) + 2 * np.eye(11, k=4)
    which = np.array(list(itertools.product(range(3), repeat=11)))
    rows, items = np.nonzero(grades[:2])
    right = Right(rows, items, grades[rows, items])
    found = measured(each, query[:2], right).values
    values = {name: [] for name in (*MEASURES, *map(among_first, NAMES))}
    for row in range(2):
        scores = np.stack([x @ query[row] for x in each])[which, np.arange(11)]
        for name, one in scored(np.argsort(-scores, axis=1), grades[row], which).items():
            values[name].append(one)
    for shares in (even(3), pair(3, 0, 2, 0.3), pair(3, 1, 2, 0.5), (0.0, 1.0, 0.0)):
        chance = np.prod(np.array(shares)[which], axis=1)
        for name in (*MEASURES, *map(among_first, NAMES[:3])):
            wanted = np.mean([one @ chance for one in values[name]])
            assert found[name][shares].value == pytest.approx(wanted, abs=1e-9), (name, shares)


def test_agrees_with_a_simulation_of_items_with_copies_and_grades():
    """Copies also across modalities: orders of ties are drawn at random."""
    modalities = 4
    each, query = alike(40, modalities, seed=3)
    query = query[:12]
    each[0][7], each[1][9], each[2][11] = each[0][8], each[2][8], each[0][12]
    each[1][20:26], each[2][21] = each[1][20], each[1][20]
    random = np.random.default_rng(1)
    grades = (np.eye(40) * random.integers(1, 4, 40) + (random.random((40, 40)) < 0.04) * 2)[:12]
    rows, items = np.nonzero(grades)
    found = measured(each, query, Right(rows, items, grades[rows, items])).values
    draws = 600
    for shares in (even(modalities), pair(modalities, 1, 2, 0.4)):
        which = random.choice(modalities, size=(draws, 40), p=shares)
        values = {name: np.zeros(draws) for name in (*MEASURES, *map(among_first, NAMES))}
        for row in range(12):
            scores = np.round(np.stack([x @ query[row] for x in each]), 9)[which, np.arange(40)]
            order = np.lexsort((random.random(scores.shape), -scores), axis=1)
            for name, one in scored(order, grades[row], which).items():
                values[name] += one / 12
        for name in (*MEASURES, *map(among_first, NAMES[:modalities])):
            error = values[name].std() / math.sqrt(draws) + 1e-9
            away = abs(found[name][shares].value - values[name].mean())
            assert away < 4.5 * error, (name, shares)


def with_copies():
    """40 items of three modalities that share rows, also across them, 10 queries with grades, and
    the numbers of rows, equal for equal ones."""
    each, query = alike(40, seed=8)
    each[1][:] = each[1][np.arange(40) % 6]  # Class names.
    each[0][10:26] = each[0][10:26:4].repeat(4, axis=0)
    each[2][30], each[0][31], each[2][25] = each[1][4], each[2][3], each[0][7]
    grades = (np.eye(40) + 2 * np.eye(40, k=5))[:10]
    rows = np.unique(np.concatenate(each), axis=0, return_inverse=True)[1].reshape(3, -1).T
    query_of, item = np.nonzero(grades)
    return each, query[:10], grades, Right(query_of, item, grades[query_of, item], rows)


def test_what_equals_a_right_document_takes_no_place():
    """Simulated with such documents behind all others; chance likewise, of queries that say
    nothing. Fused documents are no copies, but for those of one modality alone."""
    each, query, grades, right = with_copies()
    found = measured(each, query, right).values
    random, draws = np.random.default_rng(1), 600
    for shares in (even(3), pair(3, 0, 1, 0.6), pair(3, 1, 2, 0.3), (0.0, 0.0, 1.0)):
        which = random.choice(3, size=(draws, 40), p=shares)
        stands = right.rows[np.arange(40), which]
        for key, asking in (("value", query), ("chance", 0 * query)):
            values = {name: np.zeros(draws) for name in MEASURES}
            for row, mine in enumerate(grades > 0):
                scores = np.round(np.stack([x @ asking[row] for x in each]), 9)[
                    which, np.arange(40)
                ]
                scores[np.isin(stands, right.rows[mine]) & ~mine] = -np.inf
                order = np.lexsort((random.random(scores.shape), -scores), axis=1)
                one = scored(order, grades[row], which)
                values = {name: x + one[name] / 10 for name, x in values.items()}
            for name in MEASURES:
                error = values[name].std() / math.sqrt(draws) + 1e-9
                away = abs(found[name][shares].as_json()[key] - values[name].mean())
                assert away < 4.5 * error, (name, shares, key)
    even_chance = search.chances(40, right)
    for name in MEASURES:
        for shares in map(tuple, np.eye(3)):
            fused, alone = found[f"fused/{name}"][shares], found[name][shares]
            assert (fused.value, fused.chance) == pytest.approx((alone.value, alone.chance)), name
        for shares in mixtures(3)[3:]:
            assert found[f"fused/{name}"][shares].chance == even_chance[name]


def test_a_third_modality_without_copies_changes_no_pool_of_the_other_two():
    each, query, _, right = with_copies()
    each[2] = alike(40, seed=1)[0][2]
    right.rows[:, 2] = right.rows[:, :2].max() + 1 + np.arange(40)
    found = measured(each, query, right).values
    two = dataclasses.replace(right, rows=right.rows[:, :2])
    wanted = search.evaluate(chunks_of(*each[:2]), query, two, 0).values
    for name, at in itertools.product(MEASURES, search.GRID):
        for key, x in wanted[name][at].as_json().items():
            value = found[name][pair(3, 0, 1, at)].as_json()[key]
            assert value == pytest.approx(x, abs=1e-9), (name, at, key)


def test_two_of_them_are_as_images_and_texts():
    """Each pair's curve, its ends included, and all fused documents."""
    each, query = alike(60, seed=5)
    each[1][5], each[2][7] = each[1][6], each[0][7]
    found = measured(each, query).values
    for one, other in itertools.combinations(range(3), 2):
        wanted = search.evaluate(chunks_of(each[one], each[other]), query, Right.own(60), 0).values
        for name, at in itertools.product(MEASURES, search.GRID):
            value = found[name][pair(3, one, other, at)]
            for key, x in wanted[name][at].as_json().items():
                assert value.as_json()[key] == pytest.approx(x, abs=1e-9), (name, at, key)
            value = found[f"fused/{name}"][pair(3, one, other, at)].value
            assert value == pytest.approx(wanted[f"fused/{name}"][round(1 - at, 1)].value, abs=1e-9)
        for at in search.GRID:
            shares = [found[among_first(NAMES[m])][pair(3, one, other, at)] for m in range(3)]
            assert sum(x.value for x in shares) == pytest.approx(1, abs=1e-9)
            assert shares[one].value == pytest.approx(wanted[search.IMAGES][at].value, abs=1e-9)
            assert shares[one].chance == at
    fused = unit_rows_numpy(sum(each))
    wanted = ndcg_score(np.eye(60), query @ fused.T, k=10)
    assert found["fused/ndcg@10"][even(3)].value == pytest.approx(wanted, abs=1e-9)


def test_shares_of_any_number_are_those_of_two():
    each, query = alike(80, 2, seed=2)
    each[0][30], each[1][33] = each[0][31], each[0][33]
    seen = mixed_pool.scan(
        chunks_of(*each), query, Right.own(80), search.WEIGHTS, first_places.depth(search.MIXTURES)
    )
    best = seen.best_items, seen.best_scores
    wanted = first_places.images_first(*best, np.tile([True, False], (80, 1)), (0.3, 0.5))
    for column, share in enumerate((0.3, 0.5)):
        found = first_places.shares_first(*best, (share, 1 - share), 80)
        np.testing.assert_allclose(found[:, 0], wanted[:, column], atol=1e-9)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-9)


@pytest.mark.parametrize(("count", "modalities"), [(1, 3), (7, 4), (40, 3)])
def test_everything_at_one_point_scores_exactly_chance(count, modalities):
    point = np.repeat(unit_rows_numpy(np.ones((1, 4))), count, axis=0).astype(np.float16)
    found = measured([point] * modalities, point).values
    for name in (*MEASURES, *map(among_first, NAMES[:modalities])):
        for shares in mixtures(modalities):
            value = found[name][shares]
            assert value.value == pytest.approx(value.chance, abs=1e-9), (name, shares)
    assert found["recall@1"][even(modalities)].value == pytest.approx(1 / count, abs=1e-12)


def test_chunks_and_blocks_of_half_precision_give_what_one_gives(monkeypatch):
    each, query = alike(50, seed=9)
    each, query = [rows.astype(np.float16) for rows in each], query.astype(np.float16)
    each[2][5] = each[0][6]
    grades = np.eye(50) + np.eye(50, k=3)
    rows, items = np.nonzero(grades)
    right = Right(rows, items, grades[rows, items])
    whole = measured(each, query, right)
    monkeypatch.setattr(mixed_counts, "SCORES_AT_ONCE", 17 * 9)
    monkeypatch.setattr(mixed_ranks, "AT_ONCE", 60_000)
    monkeypatch.setattr(first_places, "RENDERINGS_AT_ONCE", 20_000)
    parts = measured(each, query, right, rows=17)
    for name, at in itertools.product(whole.values, mixtures(3)):
        value, other = whole.values[name][at], parts.values[name][at]
        assert (other.value, other.low) == pytest.approx((value.value, value.low), abs=1e-9), name


def test_what_is_measured():
    three = mixtures(3)
    assert three[:4] == [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1 / 3,) * 3]
    assert len(three) == len({*three}) == 4 + 3 * 9
    assert all(sum(shares) == pytest.approx(1) for shares in three)


def test_what_cannot_be_measured_is_refused():
    each, query = alike(5)
    with pytest.raises(AligngapError, match="no right item"):
        measured(each, query, Right.own(4))
    each[2][3, 1] = np.nan
    with pytest.raises(AligngapError, match="audio 3 is not finite"):
        measured(each, query)
