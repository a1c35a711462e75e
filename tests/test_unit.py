"""Rows of length 1: values, dtypes, zero rows."""

import jax.numpy as jnp
import numpy as np
import pytest

from aligngap.unit import unit_rows, unit_rows_numpy


@pytest.mark.parametrize(
    ("normalise", "array", "dtype"),
    [
        (unit_rows, jnp.asarray, np.float32),
        (unit_rows_numpy, np.asarray, np.float32),
        (unit_rows_numpy, np.asarray, np.float64),
    ],
)
def test_rows_have_length_1_and_keep_their_dtype(normalise, array, dtype):
    rows = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(dtype)
    found = normalise(array(rows))
    wanted = [[row / np.sqrt(np.sum(row.astype(float) ** 2)) for row in part] for part in rows]
    assert found.dtype == dtype
    np.testing.assert_allclose(found, wanted, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("normalise", [unit_rows, unit_rows_numpy])
def test_a_zero_row_stays_zero_or_is_nan_where_that_is_asked_for(normalise):
    rows = np.array([[0.0, 0.0], [3.0, 4.0]], np.float32)
    rows = jnp.asarray(rows) if normalise is unit_rows else rows
    np.testing.assert_allclose(normalise(rows), [[0, 0], [0.6, 0.8]], rtol=1e-6)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(
            normalise(rows, smallest=0.0), [[np.nan, np.nan], [0.6, 0.8]], rtol=1e-6
        )
