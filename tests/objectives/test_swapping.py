"""Swapping of entries against its definition."""

import jax
import numpy as np
import pytest

from aligngap.objectives.swapping import swap


@pytest.mark.parametrize("mode", ["hard", "soft"])
def test_pairs_exchange_entries(unit_rows, mode):
    v, t = (unit_rows(40, 16, seed).astype(np.float32) for seed in (0, 1))
    image, text = swap(jax.random.key(0), v, t, mode=mode, share=1.0)
    for rows in (image, text):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-5)
    # Up to each row's norm, an entry is λ of its own and 1 − λ of its partner's.
    norms = [np.linalg.norm(x, axis=1, keepdims=True) for x in exchanged(v, t, image, text)]
    own, partner = np.asarray(image) * norms[0], np.asarray(text) * norms[1]
    share = (own - t) / (v - t)
    np.testing.assert_allclose(own + partner, v + t, atol=1e-4)
    if mode == "hard":
        np.testing.assert_allclose(share, np.round(share), atol=1e-2)
        assert 0.4 < np.round(share).mean() < 0.6
    else:
        assert 0.4 < np.median(share) < 0.6
        assert share.min() > -0.01 and share.max() < 1.01


def exchanged(v, t, image, text):
    """Rows in the directions of image and text whose sum is v + t: the two before their norm."""
    rows = []
    for i in range(len(v)):
        basis = np.stack([np.asarray(image)[i], np.asarray(text)[i]], axis=1).astype(np.float64)
        lengths, *_ = np.linalg.lstsq(basis, (v + t)[i].astype(np.float64), rcond=None)
        rows.append(basis * lengths)
    return [np.stack([row[:, side] for row in rows]) for side in (0, 1)]


def test_no_step_of_the_share_swaps_nothing(unit_rows):
    v, t = (unit_rows(8, 16, seed).astype(np.float32) for seed in (0, 1))
    swapped = [
        not np.allclose(swap(jax.random.key(s), v, t, mode="soft", share=0.3)[0], v, atol=1e-5)
        for s in range(200)
    ]
    assert 0.2 < np.mean(swapped) < 0.4
    kept = swap(jax.random.key(0), v, t, mode="hard", share=0.0)
    np.testing.assert_allclose(kept, [v, t], atol=1e-6)
