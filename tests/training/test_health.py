"""Spikes and numbers that are not finite, as the loop tells them."""

import math

import pytest

from aligngap.config import default
from aligngap.errors import AligngapError
from aligngap.runs.position import Position
from aligngap.training.health import Health, Spike


def values(loss, gradient=1.0):
    return {"loss": loss, "gradient_norm": gradient, "update_norm": 0.1}


def health(losses=(), used=0, **fields):
    config = default()
    config.health.update(fields)
    return Health(config, Position(0, roll_backs=used, losses=losses))


def test_the_first_number_that_is_not_finite_ends_a_run_unless_told_otherwise():
    with pytest.raises(AligngapError, match="gradient_norm is inf at step 3;"):
        health().see(3, values(1.0, math.inf))


def test_so_many_in_a_row_may_be_skipped(capsys):
    judge = health(skip_nonfinite=2)
    for step, loss in enumerate([1.0, math.nan, math.nan, 1.0, math.nan, math.nan], start=1):
        judge.see(step, values(loss))
    assert capsys.readouterr().err.count("is skipped: its loss is nan") == 4
    with pytest.raises(AligngapError, match="at step 7, and 2 steps before it were skipped"):
        judge.see(7, values(math.nan))
    assert judge.losses == (1.0, 1.0)


def test_a_spike_is_so_many_deviations_above_the_mean_of_the_window(capsys):
    """Mean 2, deviation 1: 5 is no spike at three deviations, 5.1 is."""
    judge = health((1.0, 3.0, 1.0, 3.0), spike_sigma=3.0, spike_window=4)
    judge.see(5, values(5.0))
    assert "spike" not in capsys.readouterr().err
    judge = health((1.0, 3.0, 1.0, 3.0), spike_sigma=3.0, spike_window=4)
    judge.see(5, values(5.1))
    assert "Loss spike at step 5: 5.100, mean of 4 before 2.000" in capsys.readouterr().err


def test_before_the_window_is_full_nothing_is_a_spike():
    health((1.0, 1.0), spike_sigma=1.0, spike_window=3, roll_backs=1).see(3, values(100.0))


def test_so_many_spikes_roll_back():
    full = {"spike_sigma": 3.0, "spike_window": 2, "roll_backs": 1}
    with pytest.raises(Spike) as raised:
        health((1.0, 1.0), **full).see(9, values(2.0))
    assert raised.value.step == 9
    health((1.0, 1.0), used=1, **full).see(9, values(2.0))
