"""Cones: measures against float64 NumPy and theory, and the paper's claims."""

import argparse
import json

import numpy as np
import pytest
from scipy.special import erf, expit

from aligngap import cli
from aligngap.errors import UsageError
from aligngap.laboratory import cone

IN_NUMPY = {
    "sigmoid": expit,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: x * 0.5 * (1 + erf(x / np.sqrt(2))),
    "tanh": np.tanh,
    "linear": lambda x: x,
}


def flags(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cone.add_flags(parser)
    return parser.parse_args(given)


def normalised(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def numpy_mlp(activation: str, width: int, layers: int, inputs: int, seed: int):
    """[layers + 1, inputs, width] unit features of a random MLP."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(inputs, width))
    found = [x]
    for _ in range(layers):
        weights = random.normal(0, width**-0.5, (width, width))
        bias = random.normal(0, width**-0.5, width)
        x = IN_NUMPY[activation](x @ weights + bias)
        found.append(x)
    return normalised(np.stack(found))


def numpy_cosine(unit: np.ndarray) -> float:
    """Mean over distinct rows."""
    return (unit @ unit.T)[~np.eye(len(unit), dtype=bool)].mean()


def planted(initialisations: int, inputs: int, common: float, seed: int) -> np.ndarray:
    """Unit features: a direction of all, one of each initialisation, and noise."""
    random = np.random.default_rng(seed)
    own = normalised(random.normal(size=(initialisations, 1, 48)))
    x = 0.7 * own + random.normal(0, 0.1, (initialisations, inputs, 48))
    x[..., 0] += common
    return normalised(x)


def test_mean_cosines_against_two_loops():
    features = planted(4, 7, 0.5, 0)
    wanted = [
        [np.mean([a[i] @ b[j] for i in range(7) for j in range(7) if i != j]) for b in features]
        for a in features
    ]
    got = cone.mean_cosines(features.astype(np.float32))
    np.testing.assert_allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize("common", [0.0, 0.5, 2.0])
def test_share_is_that_of_the_law_of_total_variance(common):
    """Variances summed over coordinates, from 300 initialisations: enough to be the population."""
    features = planted(300, 200, common, 1)
    total = features.reshape(-1, 48).var(axis=0).sum()
    due = features.mean(axis=1).var(axis=0).sum()
    within = features.var(axis=1).mean(axis=0).sum()
    assert due + within == pytest.approx(total)
    share = cone.variance_share(cone.mean_cosines(features))
    assert share.value == pytest.approx(due / total, abs=0.01)
    assert share.within - share.between <= share.value <= share.within
    if not common:
        assert share.value == pytest.approx(share.within, abs=0.01)


def test_where_cones_point_the_same_way_the_mean_cosine_is_far_above_the_share():
    share = cone.variance_share(cone.mean_cosines(planted(300, 50, 3.0, 2)))
    assert share.within > 0.9
    assert share.value < 0.6


def test_the_jackknife_is_as_wide_as_the_spread_of_new_initialisations():
    drawn = [cone.variance_share(cone.mean_cosines(planted(12, 30, 1.0, s))) for s in range(150)]
    claimed = np.mean([(share.high - share.low) / 2 / 1.96 for share in drawn])
    assert claimed == pytest.approx(np.std([share.value for share in drawn]), rel=0.35)


@pytest.mark.parametrize("activation", IN_NUMPY)
def test_mlps_against_numpy(activation):
    """Other random numbers, so agreement is within four standard errors of both."""
    arguments = flags("--width=64", "--layers=5", "--inputs=96", "--repeats=8")
    got = cone.through_layers(activation, arguments)
    wanted = np.array(
        [[numpy_cosine(x) for x in numpy_mlp(activation, 64, 5, 96, s)] for s in range(8)]
    )
    assert got.cosines.shape == wanted.shape
    error = np.sqrt((got.cosines.var(axis=0, ddof=1) + wanted.var(axis=0, ddof=1)) / 8)
    difference = np.abs(got.cosines.mean(axis=0) - wanted.mean(axis=0))
    assert (difference < 5 * error + 1e-4).all(), (difference, error)


def test_share_of_an_mlp_against_numpy():
    """Sigmoid's first layer: a narrow cone, but nearly the same one for all initialisations."""
    arguments = flags("--width=128", "--layers=2", "--inputs=64", "--repeats=10")
    got = cone.through_layers("sigmoid", arguments).shares
    drawn = np.stack([numpy_mlp("sigmoid", 128, 2, 64, s) for s in range(40)], axis=1)
    for layer, features in enumerate(drawn):
        total = features.reshape(-1, 128).var(axis=0).sum()
        wanted = 1 - features.var(axis=1, ddof=1).sum(axis=-1).mean() / total
        assert got[layer].value == pytest.approx(wanted, abs=0.05), layer
    assert got[1].within > 0.8 and got[1].value < 0.1
    assert got[2].value > 0.5


def test_sigmoid_closes_the_cone_in_two_layers_and_linear_hardly_at_all():
    """At the paper's width; b·b = 1 a layer beside inputs of squared length 512 is the theory."""
    arguments = flags("--inputs=256", "--repeats=3", "--activations", "sigmoid", "linear")
    sigmoid = cone.through_layers("sigmoid", arguments).cosines
    assert sigmoid[:, 2:].min() >= 0.99
    linear = cone.through_layers("linear", arguments).cosines
    layers = np.arange(26)
    np.testing.assert_allclose(linear.mean(axis=0), layers / (512 + layers), atol=0.02)


def test_told_apart_of_separate_and_of_equal_clouds():
    assert cone.told_apart(planted(6, 50, 0.0, 0), seed=0) == 1
    equal = normalised(np.random.default_rng(0).normal(size=(6, 200, 16)))
    assert cone.told_apart(equal, seed=0) == pytest.approx(1 / 6, abs=0.07)


SMALL = ("--activations", "linear", "--layers=1", "--width=16", "--inputs=8", "--repeats=3")


@pytest.mark.corpus
def test_25_initialisations_of_both_towers_are_25_cones(pictograms_dir, tmp_path):
    command = ["gap", "cone", f"--output={tmp_path}", f"--data_dir={pictograms_dir}", *SMALL]
    assert cli.main([*command, "--examples=40", "--image_size=32"]) == 0
    record = json.loads((tmp_path / "cone.json").read_text())
    assert record["settings"]["seed"] == 0
    assert record["settings"]["initialisations"] == 25
    encoders = record["results"]["encoders"]
    kinds = ["image, pictograms", "image, noise", "text, captions", "text, noise"]
    assert list(encoders) == kinds
    for one in encoders.values():
        assert one["inputs"] == 40
        assert one["held_out_accuracy"] >= 0.99
        cosines = np.array(one["mean_cosines"])
        others = cosines[~np.eye(25, dtype=bool)]
        assert np.diag(cosines).min() > 0.5 > 0.35 > np.abs(others).max()
        share = one["variance_share"]
        between = max(others.mean(), 0)
        wanted = (np.diag(cosines).mean() - between) / (1 - between)
        assert share["value"] == pytest.approx(wanted, abs=1e-9)
        assert share["low"] < share["value"] < share["high"]
    assert "mean cosine of two inputs" in (tmp_path / "cone.svg").read_text()


def test_a_missing_corpus_gets_one_line(tmp_path, capsys):
    output = tmp_path / "out"
    assert cli.main(["gap", "cone", f"--output={output}", f"--data_dir={tmp_path}", *SMALL]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "missing" in lines[0] and "aligngap prepare --corpus=pictograms" in lines[0]
    assert not output.exists()


@pytest.mark.parametrize(
    ("flag", "word"),
    [
        ("--repeats=2", "--repeats=2"),
        ("--initialisations=1", "--initialisations=1"),
        ("--examples=3", "--examples=3"),
        ("--layers=0", "--layers=0"),
        ("--seed=-1", "--seed=-1"),
        ("--model=XL/16", "'XL/16'"),
        ("--image_size=40", "patch 16"),
    ],
)
def test_bad_flags(flag, word):
    with pytest.raises(UsageError, match=word) as caught:
        cone.run(flags(flag))
    assert "\n" not in str(caught.value)
