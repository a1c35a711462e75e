"""Noise, bytes and bits against NumPy written out; nothing perturbed is the measure itself."""

import numpy as np
import pytest

from aligngap.errors import AligngapError
from aligngap.tasks import perturbation, retrieval, zero_shot


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def clouds(items=60, width=24, seed=0):
    random = np.random.default_rng(seed)
    meaning = random.normal(size=(items, width))
    labels = np.concatenate([np.arange(items), np.arange(items)])
    image = unit(meaning[labels] + 0.7 * random.normal(size=(2 * items, width)))
    return image, unit(meaning), labels, np.arange(items)


def test_noise_has_the_size_that_it_says():
    rows = unit(np.random.default_rng(0).normal(size=(500, 64))).astype(np.float16)
    found = perturbation.noisy(rows, 0.5, seed=3)
    drawn = 0.5 / 8 * np.random.default_rng(3).normal(size=(500, 64))
    assert np.mean(np.sum(drawn**2, axis=1)) == pytest.approx(0.25, rel=0.05)
    np.testing.assert_allclose(found, unit(rows.astype(float) + drawn), atol=1e-12)


def test_a_byte_a_dimension():
    rows = np.array([[1.0, 0.004, 0.0], [-0.5, 0.002, 0.0]])
    codes = np.array([[127, 127, 0], [-64, 64, 0]])  # −63.5 and 63.5 round to even.
    wanted = codes * np.array([1.0, 0.004, 0.0]) / 127
    np.testing.assert_allclose(perturbation.int8(rows), unit(wanted), atol=1e-12)


def test_bits_have_the_cosine_of_hammings_distance():
    rows = np.random.default_rng(0).normal(size=(9, 16))
    rows[0, 0] = 0.0
    found = perturbation.binary(rows)
    bits = rows >= 0
    hamming = (bits[:, None] != bits[None]).sum(axis=-1)
    np.testing.assert_allclose(found @ found.T, 1 - 2 * hamming / 16, atol=1e-12)


def test_nothing_perturbed_is_retrieval_and_zero_shot_themselves():
    given = clouds()
    found = perturbation.retrieval(*given, seed=0, sizes=(0.5,), draws=1)
    for name, wanted in retrieval.evaluate(*given, seed=0).items():
        assert found[f"none/{name}"] == wanted
    image, text, labels, _ = given
    accuracy = perturbation.accuracy(image, text, labels, labels, seed=0, sizes=(), draws=1)
    wanted = zero_shot.classify(image, list(text[:, None]), labels, labels, seed=0)["acc1"]
    assert accuracy["none/acc1"].value == wanted.value
    assert set(accuracy) == {"none/acc1", "int8/acc1", "binary/acc1"}


def test_draws_are_averaged():
    image, text, labels, own = clouds()
    found = perturbation.retrieval(image, text, labels, own, seed=7, sizes=(1.0,), draws=2)
    each = []
    for seed in (7, 9):
        pair = perturbation.noisy(image, 1.0, seed), perturbation.noisy(text, 1.0, seed + 1)
        each.append(retrieval.values(*pair, labels, own)["text_retrieval_recall@5"])
    assert found["noise_1/text_retrieval_recall@5"].value == pytest.approx(np.mean(each), abs=1e-12)


def test_more_noise_is_worse_until_only_chance_is_left():
    found = perturbation.retrieval(*clouds(), seed=0, sizes=(0.5, 2.0, 1000.0), draws=4)
    values = [
        found[f"{n}/text_retrieval_recall@1"]
        for n in ("none", "noise_0.5", "noise_2", "noise_1000")
    ]
    assert [x.value for x in values] == sorted((x.value for x in values), reverse=True)
    assert values[0].value > 0.8
    assert values[-1].value == pytest.approx(values[-1].chance, abs=0.03)


def test_a_gap_costs_bits_nothing_but_bytes_and_bits_of_one_point_are_chance():
    """Rows that differ by less than a bit tell: they all tie."""
    image, text, labels, own = clouds()
    point = np.ones(24) / np.sqrt(24)
    narrow = unit(point + 0.01 * image), unit(point + 0.01 * text)
    found = perturbation.retrieval(*narrow, labels, own, seed=0, sizes=())
    at = found["binary/text_retrieval_recall@1"]
    assert at.value == pytest.approx(at.chance, abs=1e-12)
    assert found["none/text_retrieval_recall@1"].value > 0.5


@pytest.mark.parametrize(
    ("sizes", "draws", "words"), [((0.0,), 1, "noise sizes"), ((1.0,), 0, "draws=0")]
)
def test_bad_settings_are_told(sizes, draws, words):
    with pytest.raises(AligngapError, match=words):
        perturbation.retrieval(*clouds(), seed=0, sizes=sizes, draws=draws)
