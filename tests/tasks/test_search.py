"""Mixed search against enumeration and simulation: mixtures, ties, grades, chunks, bad input."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from aligngap.errors import AligngapError
from aligngap.tasks import first_places, mixed_counts, mixed_ranks, search
from aligngap.tasks.mixed_pool import Right, chunks_of
from aligngap.unit import unit_rows_numpy

NAMES = ("ndcg@10", "recall@1", "recall@5", "recall@10", "mrr")


def cloud(rows, width, seed):
    return unit_rows_numpy(np.random.default_rng(seed).normal(size=(rows, width)))


def alike(count, width=6, seed=0):
    """Images, texts and queries of items: with something in common, and a gap."""
    base = cloud(count, width, seed)
    image, text, query = (
        unit_rows_numpy(base + noise * cloud(count, width, seed + k) + shift * np.eye(width)[0])
        for k, noise, shift in ((1, 0.9, 0.0), (2, 0.7, 0.4), (3, 0.6, 0.5))
    )
    return image, text, query


def order_scores(order, grades):
    """The measures of one order of items by sorting alone; `grades` of all items."""
    ranked = np.asarray(grades)[list(order)]
    gains = [g / math.log2(place + 2) for place, g in enumerate(ranked[:10])]
    best = [g / math.log2(place + 2) for place, g in enumerate(sorted(grades, reverse=True)[:10])]
    right = ranked > 0
    found = {"ndcg@10": sum(gains) / sum(best), "mrr": 1 / (1 + int(np.flatnonzero(right)[0]))}
    return found | {f"recall@{k}": right[:k].sum() / right.sum() for k in (1, 5, 10)}


def simulated(image, text, query, grades, share, draws, seed, rows=None):
    """(means, standard errors) of the measures: mixtures and orders of ties drawn at random. What
    equals an image or a text of a right item, by the numbers of `rows`, is taken out of the order.
    """
    random = np.random.default_rng(seed)
    found = {name: [] for name in (*NAMES, search.IMAGES)}
    for _ in range(draws):
        is_image = random.random(len(image)) < share
        pool = np.where(is_image[:, None], image, text)
        each = {name: [] for name in found}
        for row, scores in enumerate(np.round(query @ pool.T, 9)):
            order = np.lexsort((random.random(len(pool)), -scores))
            if rows is not None:
                stands = np.where(is_image, *rows.T)
                right = grades[row] > 0
                order = order[right[order] | ~np.isin(stands[order], rows[right])]
            for name, value in order_scores(order, grades[row]).items():
                each[name].append(value)
            each[search.IMAGES].append(is_image[order[:10]].mean())
        for name, values in each.items():
            found[name].append(np.mean(values))
    means = {name: np.mean(values) for name, values in found.items()}
    return means, {name: np.std(x) / math.sqrt(draws) for name, x in found.items()}


def right_of(grades):
    query, item = np.nonzero(grades)
    return Right(query, item, grades[query, item].astype(float))


def measured(image, text, query, right=None, seed=0, **more):
    right = right or Right.own(len(query))
    return search.evaluate(chunks_of(image, text), query, right, seed, **more)


def flat(found):
    return {(name, at): x for name, own in found.values.items() for at, x in own.items()}


@pytest.mark.parametrize("several", [False, True])
def test_agrees_with_a_simulation_and_intervals_hold_their_values(several):
    image, text, query = alike(60)
    image[7], text[9], text[11] = image[8], text[8], image[12]  # copies, also across modalities
    grades = np.eye(60)
    if several:
        random = np.random.default_rng(1)
        grades = grades * random.integers(1, 4, 60) + (random.random((60, 60)) < 0.04) * 2
        grades = grades[:25]
    found = measured(image, text, query[: len(grades)], right_of(grades))
    for share in (0.1, 0.5, 0.8):
        means, errors = simulated(image, text, query[: len(grades)], grades, share, 400, seed=2)
        for name, mean in means.items():
            value = found.values[name][share].value
            assert abs(value - mean) < 4.5 * errors[name], (name, share)
    for name, values in found.values.items():
        for at, value in values.items():
            assert value.low <= value.value <= value.high, (name, at)


def numbers(image, text):
    """Of each item those of its image and its text, equal for equal rows."""
    found = np.unique(np.concatenate([image, text]), axis=0, return_inverse=True)[1]
    return found.reshape(2, -1).T


def shared(kind):
    """48 items of which some share an image, a text, both with others, or the query."""
    image, text, query = alike(48, seed=6)
    grades = np.eye(48)
    if kind in ("texts", "both"):
        text[:] = text[np.arange(48) % 5]  # Class names.
    if kind in ("images", "both"):
        image[10:30] = image[10:30:4].repeat(4, axis=0)
        image[40] = text[41]  # Across modalities, too.
    if kind == "queries":
        text[:] = text[np.arange(48) % 5]
        asked = np.arange(48) // 4
        query, grades = query[::4], (np.arange(12)[:, None] == asked) * (1 + np.arange(48) % 3)
    return image, text, query, grades


@pytest.mark.parametrize("kind", ["texts", "images", "both", "queries"])
def test_what_equals_a_right_document_takes_no_place(kind):
    image, text, query, grades = shared(kind)
    rows = numbers(image, text)
    right = dataclasses.replace(right_of(grades), rows=rows)
    found = measured(image, text, query, right)
    for share in (0.3, 0.8):
        means, errors = simulated(image, text, query, grades, share, 150, 2, rows)
        for name in NAMES:
            value = found.values[name][share].value
            assert abs(value - means[name]) < 4.5 * errors[name], (name, share)
    random, errors = simulated(image, text, 0 * query, grades, 0.3, 150, 3, rows)
    for name in NAMES:
        assert abs(found.values[name][0.3].chance - random[name]) < 4.5 * errors[name], name
    for name in NAMES:  # Pools of images and of texts alone.
        for alpha, share in ((0.0, 1.0), (1.0, 0.0)):
            fused, mixed = found.values[f"fused/{name}"][alpha], found.values[name][share]
            assert (fused.value, fused.chance) == pytest.approx((mixed.value, mixed.chance))


def test_chunks_give_the_same_of_copies(monkeypatch):
    image, text, query, grades = shared("both")
    right = dataclasses.replace(right_of(grades), rows=numbers(image, text))
    whole = flat(measured(image, text, query, right))
    monkeypatch.setattr(mixed_counts, "SCORES_AT_ONCE", 17 * 9)
    parts = flat(search.evaluate(chunks_of(image, text, rows=17), query, right, 0))
    for name, value in whole.items():
        assert parts[name].value == pytest.approx(value.value, abs=1e-9), name
        assert parts[name].chance == pytest.approx(value.chance, abs=1e-9), name


def test_without_copies_numbers_change_no_bit():
    image, text, query = alike(40, seed=3)
    right = dataclasses.replace(Right.own(40), rows=np.arange(80).reshape(2, 40).T)
    assert measured(image, text, query, right).values == measured(image, text, query).values


def test_the_ends_are_one_modality_and_scikit_learns_ndcg():
    image, text, query = alike(80, seed=5)
    grades = np.eye(80)[:30] * 2 + (np.random.default_rng(3).random((30, 80)) < 0.05)
    found = measured(image, text, query[:30], right_of(grades)).values
    for share, pool in ((0.0, text), (1.0, image)):
        scores = query[:30] @ pool.T
        wanted = ndcg_score(grades, scores, k=10)
        assert found["ndcg@10"][share].value == pytest.approx(wanted, abs=1e-12)
        each = [order_scores(np.argsort(-s), g) for s, g in zip(scores, grades, strict=True)]
        for name in NAMES:
            wanted = np.mean([values[name] for values in each])
            assert found[name][share].value == pytest.approx(wanted, abs=1e-12), name
        assert found[search.IMAGES][share].value == share
    for alpha in search.GRID:
        fused = unit_rows_numpy(alpha * text + (1 - alpha) * image)
        wanted = ndcg_score(grades, query[:30] @ fused.T, k=10)
        assert found["fused/ndcg@10"][alpha].value == pytest.approx(wanted, abs=1e-12)
        orders = np.argsort(-(query[:30] @ fused.T), axis=1)
        each = [order_scores(order, g) for order, g in zip(orders, grades, strict=True)]
        for name in NAMES:
            wanted = np.mean([values[name] for values in each])
            assert found[f"fused/{name}"][alpha].value == pytest.approx(wanted, abs=1e-12)


def test_ndcg_alone_is_the_same_number():
    image, text, query = alike(40, seed=2)
    grades = np.eye(40)[:20] + (np.random.default_rng(3).random((20, 40)) < 0.05)
    right = right_of(grades)
    wanted = measured(image, text, query[:20], right).values["ndcg@10"]
    found = search.ndcg(chunks_of(image, text), query[:20], right).mean(axis=0)
    assert found == pytest.approx([value.value for value in wanted.values()], abs=1e-12)


@pytest.mark.parametrize("right_is", [1.0, 0.3])
def test_right_items_may_be_images_more_often_than_others(right_is):
    """Every mixture of 11 other items, the right one an image and a text in turn."""
    image, text, query = alike(12, seed=4)
    found = search.ndcg(chunks_of(image, text), query, Right.own(12), right_is)
    mixtures = np.array(list(itertools.product([False, True], repeat=11)))
    discounts = np.append(1 / np.log2(np.arange(2, 12)), [0, 0])
    for row in range(12):
        others = np.delete(np.arange(12), row)
        ahead = [rows[others] @ query[row] for rows in (image, text)]
        for column, p in enumerate(search.GRID):
            chance = p ** mixtures.sum(1) * (1 - p) ** (~mixtures).sum(1)
            wanted = 0.0
            for bar, share in ((image[row] @ query[row], right_is),
                               (text[row] @ query[row], 1 - right_is)):  # fmt: skip
                places = np.where(mixtures, ahead[0] > bar, ahead[1] > bar).sum(axis=1)
                wanted += share * (chance @ discounts[places])
            assert found[row, column] == pytest.approx(wanted, abs=1e-12)


def enumerated(others, right, shares, k):
    """Places and reciprocal rank by walking all mixtures and all subsets of ties that come first,
    each set of b out of n being first in b! (n − b)! of (n + 1)! orders."""
    ways = list(itertools.product(range(3), repeat=len(shares)))
    items = [(way, mine) for mine, counts in ((0, others), (1, right))
             for way, count in zip(ways, counts, strict=True) for _ in range(count)]  # fmt: skip
    places, reciprocal = np.zeros(k), 0.0
    for mixture in itertools.product(range(len(shares)), repeat=len(items)):
        chance = math.prod(shares[m] for m in mixture)
        stands = [(way[m], mine) for (way, mine), m in zip(items, mixture, strict=True)]
        ahead = [mine for s, mine in stands if s == mixed_ranks.AHEAD]
        tied = [mine for s, mine in stands if s == mixed_ranks.TIED]
        for first in itertools.product((0, 1), repeat=len(tied)):
            b, n = sum(first), len(tied)
            weight = chance * math.factorial(b) * math.factorial(n - b) / math.factorial(n + 1)
            place = len(ahead) + b
            if place < k:
                places[place] += weight
            if not any(ahead) and not any(f and m for f, m in zip(first, tied, strict=True)):
                reciprocal += weight / (place + 1)
    return places, reciprocal


def test_ranks_are_means_over_all_mixtures_and_orders():
    random = np.random.default_rng(0)
    for modalities, several in ((2, ((0, 1), (0.3, 0.7), (1, 0))), (3, ((0.2, 0.5, 0.3),))):
        ways = 3**modalities
        others, right = (
            np.stack([random.multinomial(count, np.ones(ways) / ways) for count in counts])
            for counts in random.integers(0, [[6], [3]], (2, 25))
        )
        for rows in (others, right):  # Some without ties.
            tied = [
                mixed_ranks.TIED in way for way in itertools.product(range(3), repeat=modalities)
            ]
            rows[:8, tied] = 0
        for shares in several:
            places = mixed_ranks.places(others + right, shares, 4)
            reciprocal = mixed_ranks.reciprocal(others, right, shares)
            for row in range(25):
                wanted = enumerated(others[row], right[row], shares, 4)
                np.testing.assert_allclose(places[row], wanted[0], atol=1e-12)
                assert reciprocal[row] == pytest.approx(wanted[1], abs=1e-12)


@pytest.mark.parametrize("degree", [0, 1, 6, 23, 24])
def test_panels_have_as_few_nodes_as_are_exact(degree):
    nodes, weights = mixed_ranks.panels(degree)
    assert weights @ nodes**degree == pytest.approx(1 / (degree + 1), rel=1e-11)
    assert weights @ (1 - nodes) ** degree == pytest.approx(1 / (degree + 1), rel=1e-11)
    assert len(nodes) == (degree // 2 + 1 if degree < 24 else 12 * (1 + (degree - 1).bit_length()))


@pytest.mark.parametrize("ties", [22, 25, 546, 10**6])
def test_many_ties_are_every_place_alike(ties):
    counts = np.zeros((1, 9), np.int64)
    counts[0, mixed_ranks.standing(mixed_ranks.TIED, mixed_ranks.TIED)] = ties
    found = mixed_ranks.places(counts, (0.3, 0.7), 10)[0]
    np.testing.assert_allclose(found * (ties + 1), 1, rtol=1e-10)
    harmonic = (1 / np.arange(1, ties + 2)).sum()
    found = mixed_ranks.reciprocal(counts, np.zeros_like(counts), (0.3, 0.7))[0]
    assert found == pytest.approx(harmonic / (ties + 1), rel=1e-10)


@pytest.mark.parametrize("count", [1, 2, 7, 150])
def test_everything_at_one_point_scores_exactly_chance(count):
    """Also one item, and fewer items than places."""
    point = np.repeat(cloud(1, 5, 0), count, axis=0).astype(np.float16)
    found = measured(point, point, point).values
    for name in NAMES:
        for share, value in found[name].items():
            assert value.value == pytest.approx(value.chance, abs=1e-12), (name, share)
    for share, value in found[search.IMAGES].items():
        assert value.value == pytest.approx(share, abs=1e-9)
    assert found["recall@1"][0.5].value == pytest.approx(1 / count, abs=1e-12)
    assert found["recall@10"][0.5].value == pytest.approx(min(1, 10 / count), abs=1e-12)


def test_each_modality_at_a_point_of_its_own():
    """A gap and nothing else: the right item competes with those of its modality alone."""
    image, text = (np.repeat(np.eye(3)[[k]], 40, axis=0) for k in (0, 1))
    query = np.repeat(unit_rows_numpy(np.array([[1.0, 2.0, 0.0]])), 40, axis=0)
    found = measured(image, text, query).values
    grades = np.eye(40)
    means, errors = simulated(image, text, query, grades, 0.7, 400, seed=0)
    for name in (*NAMES, search.IMAGES):
        assert abs(found[name][0.7].value - means[name]) < 4.5 * errors[name] + 1e-9, name


def test_chance_is_what_random_embeddings_score():
    grades = np.zeros((300, 40))
    grades[np.arange(300), np.arange(300) % 40] = 1
    grades[:, 3] += 2
    found = measured(cloud(40, 32, 0), cloud(40, 32, 1), cloud(300, 32, 2), right_of(grades))
    for name in NAMES:
        value = found.values[name][0.5]
        assert value.value == pytest.approx(value.chance, abs=0.03), name


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_chunks_and_blocks_give_what_one_gives(monkeypatch, dtype):
    image, text, query = (rows.astype(dtype) for rows in alike(70, seed=9))
    text[5] = text[6]
    grades = np.eye(70) + np.eye(70, k=3)
    right = right_of(grades)
    whole = measured(image, text, query, right)
    monkeypatch.setattr(mixed_counts, "SCORES_AT_ONCE", 17 * 9)
    monkeypatch.setattr(mixed_ranks, "AT_ONCE", 20_000)
    monkeypatch.setattr(first_places, "RENDERINGS_AT_ONCE", 3000)
    parts = search.evaluate(chunks_of(image, text, rows=17), query, right, 0)
    for name, value in flat(whole).items():
        found = flat(parts)[name]
        assert (found.value, found.low) == pytest.approx((value.value, value.low), abs=1e-9), name


def test_only_the_best_renderings_are_kept(monkeypatch):
    """The share of images from the best of each modality, as the chunks come, is that of all."""
    image, text, query = alike(900, width=4, seed=2)
    kept = measured(image, text, query[:20], Right.own(20)).values[search.IMAGES]
    assert first_places.depth(search.MIXTURES) < 900
    monkeypatch.setattr(search, "depth", lambda mixtures: 900)
    every = measured(image, text, query[:20], Right.own(20)).values[search.IMAGES]
    for share, value in every.items():
        assert kept[share].value == pytest.approx(value.value, abs=1e-6)


def test_an_item_with_one_modality_stands_as_that():
    """The other one is in its place, whichever way the mixture falls."""
    image, text, query = alike(50, seed=4)
    shown = np.tile([True, False], (50, 1))
    image[:20], shown[:20, 0] = text[:20], False
    text[20:30], shown[20:30, 1] = image[20:30], True
    found = measured(image, text, query, shown=shown).values
    grades = np.eye(50)
    for share, pool in ((0.0, text), (1.0, image)):
        wanted = ndcg_score(grades, query @ pool.T, k=10)
        assert found["ndcg@10"][share].value == pytest.approx(wanted, abs=1e-12)
    first = np.argsort(-(query @ text.T), axis=1)[:, :10]
    wanted = shown[first, 1].mean()
    assert found[search.IMAGES][0.0].value == pytest.approx(wanted, abs=1e-12)


def test_intervals_are_made_only_of_what_is_not_kept():
    found = search.measure(chunks_of(*alike(30)[:2]), alike(30)[2], Right.own(30))
    every, some = found.found(0).values, found.found(0, without=(0.0, 0.5, 1.0)).values
    for name, values in every.items():
        kept = (0.0, 0.5, 1.0) if name in search.MIXED else ()
        assert list(some[name]) == [at for at in search.GRID if at not in kept]
        for at, value in values.items():
            found_alone = found.at(name, at).interval(0) if at in kept else some[name][at]
            for key, x in value.as_json().items():
                assert found_alone.as_json()[key] == pytest.approx(x, abs=1e-12), (name, at)


def test_what_cannot_be_measured_is_refused():
    image, text, query = alike(5)
    with pytest.raises(AligngapError, match="no right item"):
        measured(image, text, query, Right.own(4))
    with pytest.raises(AligngapError, match="no right item"):
        measured(image, text, query[:0], Right.own(0))
    broken = text.copy()
    broken[3, 1] = np.nan
    with pytest.raises(AligngapError, match="text 3 is not finite"):
        measured(image, broken, query)
