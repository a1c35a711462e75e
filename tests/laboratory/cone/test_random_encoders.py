"""What stands for an input after each layer, against the modules applied one by one."""

import argparse

import jax
import numpy as np
import pytest

from aligngap import config as configs
from aligngap import progress
from aligngap.laboratory.cone import random_encoders
from aligngap.models import dual_encoder
from aligngap.presets import set_size

pytestmark = pytest.mark.corpus


@pytest.fixture(scope="module")
def arguments(pictograms_dir):
    parser = argparse.ArgumentParser()
    random_encoders.add_flags(parser)
    few = (
        "--examples=12",
        "--resnet_examples=10",
        "--image_size=32",
        f"--data_dir={pictograms_dir}",
    )
    return parser.parse_args(few, argparse.Namespace(seed=3))


@pytest.fixture(scope="module")
def encoders(arguments):
    return random_encoders.encoders(arguments)


def one_by_one(modality, params, rows, place):
    """[layers, N, W]: what a modality's tokens hold at `place` before the blocks and after each."""
    config = set_size(configs.default(), "Ti/16")
    config.model.image.size = 32
    config.model.text.context_length = random_encoders.CONTEXT
    if modality == "text":
        config.model.text.vocab_size = len(params["text_input"]["tokens"]["embedding"])
    bound = dual_encoder.make(config).bind({"params": params})
    x = getattr(bound, f"{modality}_input")(rows)
    found = [x[np.arange(len(x)), place]]
    transformer = getattr(bound, f"{modality}_transformer")
    block, stacked = (
        transformer.blocks.clone(parent=None),
        params[f"{modality}_transformer"]["blocks"],
    )
    step = jax.jit(lambda layer, x: block.apply({"params": layer}, x, modality == "text"))
    for number in range(config.model[modality].layers):
        x = step(jax.tree.map(lambda p, i=number: p[i], stacked), x)
        found.append(x[np.arange(len(x)), place])
    return np.stack(found)


@pytest.mark.parametrize(("modality", "kind"), [("image", "pictograms"), ("text", "captions")])
def test_transformers(encoders, modality, kind):
    encoder = encoders[f"{modality} transformer"]
    params, rows = encoder.initialise(jax.random.key(1)), encoder.inputs[kind]
    *layers, features = encoder.layers(params, rows)
    place = np.zeros(len(rows), int) if modality == "image" else rows.argmax(axis=1)
    before = len(layers) - 13
    assert before == (1 if modality == "image" else 0)
    wanted = one_by_one(modality, params, rows, place)
    np.testing.assert_allclose(np.stack(layers[before:]), wanted, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    if modality == "image":
        np.testing.assert_array_equal(layers[0], rows.reshape(len(rows), -1))
    assert encoder.names[before:] == ["input", *map(str, range(1, 13)), "features"]


def test_resnet(encoders):
    """By shapes: 3, 4, 6 and 3 blocks of their stages' widths between the stem and the features."""
    encoder = encoders["ResNet-50"]
    params = jax.eval_shape(encoder.initialise, jax.random.key(0))
    layers = jax.eval_shape(encoder.layers, params, encoder.inputs["pictograms"])
    widths = [3 * 32**2, 64, *[256] * 3, *[512] * 4, *[1024] * 6, *[2048] * 3, 1024]
    assert [layer.shape for layer in layers] == [(10, width) for width in widths]
    assert encoder.names == ["pixels", "stem", *map(str, range(1, 17)), "features"]


def test_drawn(encoders):
    """Every initialisation is another, and its cosines are those of what it makes of the inputs."""
    encoder = encoders["text transformer"]
    with progress.Bar("", 2, "") as bar:
        found = random_encoders.draw(encoder, 3, 2, bar)
    assert list(found) == ["captions", "noise"]
    for kind, one in found.items():
        for k in range(2):
            params = encoder.initialise(jax.random.fold_in(jax.random.key(3), k))
            layers = encoder.layers(params, encoder.inputs[kind])
            np.testing.assert_allclose(one.features[k], layers[-1], atol=1e-5)
            for layer, got in zip(layers, one.cosines[k], strict=True):
                unit = np.asarray(layer, np.float64)
                unit /= np.linalg.norm(unit, axis=1, keepdims=True)
                wanted = (unit @ unit.T)[~np.eye(len(unit), dtype=bool)].mean()
                assert got == pytest.approx(wanted, abs=1e-5)
        assert np.abs(one.features[0] - one.features[1]).max() > 0.01
