"""Positions at another resolution, as torch resamples them for open_clip."""

import numpy as np
import pytest

from aligngap.models.positions import resampled

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(("side", "grid"), [(7, 12), (14, 7), (16, 24)])
@pytest.mark.parametrize("first", [0, 1])
def test_as_open_clip_does(side, grid, first):
    rows = np.random.default_rng(0).normal(size=(first + side**2, 6)).astype(np.float32)
    square = torch.tensor(rows[first:]).reshape(1, side, side, 6).permute(0, 3, 1, 2)
    wanted = torch.nn.functional.interpolate(
        square, size=(grid, grid), mode="bicubic", antialias=True, align_corners=False
    )
    wanted = wanted.permute(0, 2, 3, 1).reshape(grid * grid, 6).numpy()
    found = resampled(rows, grid, first)
    np.testing.assert_array_equal(found[:first], rows[:first])
    np.testing.assert_allclose(found[first:], wanted, atol=1e-5)


def test_the_same_side_keeps_its_bits():
    rows = np.random.default_rng(0).normal(size=(17, 6)).astype(np.float32)
    assert resampled(rows, 4, 1) is rows
