"""Random MLPs against float64 NumPy, and what the paper says of their activations."""

import argparse

import numpy as np
import pytest
from scipy.special import erf, expit

from aligngap.laboratory.cone import random_mlps

IN_NUMPY = {
    "sigmoid": expit,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: x * 0.5 * (1 + erf(x / np.sqrt(2))),
    "tanh": np.tanh,
    "linear": lambda x: x,
}


def flags(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    random_mlps.add_flags(parser)
    parser.set_defaults(seed=0)
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


@pytest.mark.parametrize("activation", IN_NUMPY)
def test_mlps_against_numpy(activation):
    """Other random numbers, so agreement is within four standard errors of both."""
    arguments = flags("--width=64", "--layers=5", "--inputs=96", "--repeats=8")
    got = random_mlps.through_layers(activation, arguments)
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
    got = random_mlps.through_layers("sigmoid", arguments).shares
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
    sigmoid = random_mlps.through_layers("sigmoid", arguments).cosines
    assert sigmoid[:, 2:].min() >= 0.99
    linear = random_mlps.through_layers("linear", arguments).cosines
    layers = np.arange(26)
    np.testing.assert_allclose(linear.mean(axis=0), layers / (512 + layers), atol=0.02)
