"""Transforms as matrices, against NumPy and against themselves; those that are none."""

import numpy as np
import pytest

from aligngap.errors import AligngapError
from aligngap.gap.stores import linear
from aligngap.gap.transforms.methods import METHODS


def n(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("spectral",)])
@pytest.mark.parametrize("modality", ["image", "text", "query"])
def test_steps_are_the_transform(fit, clouds, method, modality):
    if method == "transport":
        pytest.importorskip("ot")
    transform, rows = fit(method), dict(zip(("image", "text", "query"), clouds, strict=True))
    changed = n(rows[modality].astype(np.float64))
    if (method, modality) == ("transport", "image"):
        with pytest.raises(AligngapError, match="--method=transport is not linear in image rows"):
            linear.steps(transform, modality)
        return
    for weight, bias in linear.steps(transform, modality):
        assert weight.shape == (32, 32) and bias.shape == (32,)
        changed = n(changed @ weight + bias)
    np.testing.assert_allclose(transform.apply(modality, rows[modality]), changed, atol=1e-6)


def test_the_bias_of_mean_is_minus_the_mean(fit, fitted_on):
    for modality, rows in zip(("image", "text"), fitted_on, strict=True):
        expected = -n(rows.astype(np.float64)).mean(axis=0)
        np.testing.assert_allclose(linear.bias(fit("mean"), modality), expected, atol=1e-7)
    for method in ("standardise", "realign", "whiten"):
        with pytest.raises(AligngapError, match=f"--method={method} does not merely add"):
            linear.bias(fit(method), "text")


def test_spectral_is_not_linear(fit):
    with pytest.raises(AligngapError, match="not linear in query rows: no store can do it"):
        linear.steps(fit("spectral", eigenvectors=4), "query")
