"""Shifts against float64 NumPy, the two conventions against each other, and closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest

from aligngap import gap


def clouds(seed=0, rows=60, width=12):
    """Two clouds of unit rows with a gap between them, float64."""
    random = np.random.default_rng(seed)
    offset = random.normal(size=width)
    v = random.normal(size=(rows, width)) + offset
    t = random.normal(size=(rows, width)) - 0.5 * offset
    return tuple(x / np.linalg.norm(x, axis=1, keepdims=True) for x in (v, t))


def reference(v, t, delta, unit, move):
    """The formulas of Liang et al. 2022: the paper's and the code's, row by row."""
    vector = v.mean(0) - t.mean(0)
    step = delta * vector
    if unit:
        step = delta * vector / np.sqrt(vector @ vector) * {"both": 0.5}.get(move, 1.0)
    moved = (
        [row - step * (move != "text") for row in v],
        [row + step * (move != "image") for row in t],
    )
    return tuple(np.array([row / np.sqrt(row @ row) for row in side]) for side in moved)


@pytest.mark.parametrize("move", ["both", "image", "text"])
@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("delta", [-1.0, -0.25, 0.0, 0.5, 2.0])
def test_against_the_formulas(delta, unit, move):
    v, t = clouds()
    expected = reference(v, t, delta, unit, move)
    for given in ((v, t), (jnp.asarray(v, jnp.float32), jnp.asarray(t, jnp.float32))):
        found = gap.shift(*given, delta, unit=unit, move=move)
        for got, wanted in zip(found, expected, strict=True):
            assert got.dtype == jnp.float32
            np.testing.assert_allclose(got, wanted, atol=2e-6)


@pytest.mark.parametrize(("move", "sides"), [("both", 2), ("image", 1), ("text", 1)])
@pytest.mark.parametrize("amount", [-0.7, 0.3, 1.1])
def test_the_conventions_agree_where_they_must(move, sides, amount):
    """δ = 2λ‖Δ‖ when both move, δ = λ‖Δ‖ when one does; at equal numbers they are two shifts."""
    v, t = clouds(1)
    length = np.linalg.norm(v.mean(0) - t.mean(0))
    by_paper = gap.shift(v, t, amount, unit=False, move=move)
    by_code = gap.shift(v, t, sides * amount * length, unit=True, move=move)
    for a, b in zip(by_paper, by_code, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)
    other = gap.shift(v, t, amount, unit=True, move=move)
    assert max(float(jnp.abs(a - b).max()) for a, b in zip(by_paper, other, strict=True)) > 1e-2


def test_what_does_not_move_stays():
    v, t = clouds(2)
    np.testing.assert_array_equal(gap.shift(v, t, 0.4, move="image")[1], t.astype(np.float32))
    np.testing.assert_array_equal(gap.shift(v, t, 0.4, move="text")[0], v.astype(np.float32))


@pytest.mark.parametrize("move", ["both", "image"])
def test_the_gap_falls_with_delta_and_changes_sign(move):
    v, t = clouds(3)
    vector = v.mean(0) - t.mean(0)
    deltas = np.linspace(-1, 3, 33)
    signed = [float(gap.signed_gap(*gap.shift(v, t, d, move=move), vector)) for d in deltas]
    assert (np.diff(signed) < 0).all()
    assert signed[8] == pytest.approx(np.linalg.norm(vector), abs=1e-6)
    assert signed[-1] < 0 < signed[0]
    for delta, value in zip(deltas, signed, strict=True):
        moved = reference(v, t, delta, True, move)
        left = moved[0].mean(0) - moved[1].mean(0)
        assert value == pytest.approx(np.linalg.norm(left) * np.sign(left @ vector), abs=5e-6)


def test_two_antipodal_points_pass_through_each_other():
    """u = e₁, gap 2: ±(1 − δ/2)e₁ normalised is ±e₁ before δ = 2, ∓e₁ beyond."""
    v = np.tile([1.0, 0, 0], (5, 1))
    for delta, expected in ((-3, 2), (1.9, 2), (2.1, -2)):
        moved = gap.shift(v, -v, delta)
        assert float(gap.signed_gap(*moved, [2.0, 0, 0])) == pytest.approx(expected)


def test_orthogonal_points_in_closed_form():
    """e₁, e₂ moved by λ: (1−λ, λ) and (λ, 1−λ) normalised; gap √2|1−2λ| / √(1−2λ+2λ²)."""
    v, t = np.tile([1.0, 0], (4, 1)), np.tile([0, 1.0], (4, 1))
    for amount in (-1.0, 0.25, 0.5, 0.8):
        found = float(gap.signed_gap(*gap.shift(v, t, amount, unit=False), [1.0, -1.0]))
        norm = np.sqrt(1 - 2 * amount + 2 * amount**2)
        assert found == pytest.approx(np.sqrt(2) * (1 - 2 * amount) / norm, abs=1e-6)


def test_no_gap_is_no_direction():
    v, _ = clouds(4)
    for moved in gap.shift(v, v, 1.0):
        np.testing.assert_allclose(moved, v, atol=1e-6)


def test_along_the_vector_of_others_and_unequal_sizes():
    v, t = clouds(5)
    vector = np.eye(12)[3] * 0.2
    moved, _ = gap.shift(v, t[:7], 0.6, vector=vector)
    wanted = v - 0.3 * np.eye(12)[3]
    np.testing.assert_allclose(
        moved, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-6
    )
    assert gap.shift(v, t[:7], 0.1)[1].shape == (7, 12)


def test_an_unknown_move_is_named():
    with pytest.raises(ValueError, match="sideways"):
        gap.shift(*clouds(), 0.1, move="sideways")
