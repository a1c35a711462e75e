"""What the log makes of time."""

from types import SimpleNamespace

import pytest

from aligngap.config import default
from aligngap.training import log as log_room
from aligngap.training.log import Log
from aligngap.training.metrics import NoWriters

VALUES = {"loss": 1.0}


def test_goodput_is_the_share_of_steps_also_after_something_else(monkeypatch):
    """A fifth of a second each: compiling, a step, an evaluation, a step."""
    now = [0.0]
    monkeypatch.setattr(log_room, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    with Log(default(), NoWriters(), 0) as log:
        for step in (1, 2, 3):
            now[0] += 0.2
            if step == 1:
                log.compiled({})
            log.step(step, VALUES)
            if step == 2:
                with log.elsewhere():
                    now[0] += 0.2
        assert log.goodput() == pytest.approx(0.5)


class Kept(NoWriters):
    """What would be written of time."""

    def __init__(self):
        self.timing = {}

    def write(self, step, values, timing=None):
        self.timing[step] = timing


def test_rates_are_of_steps_alone(monkeypatch):
    """A tenth of a second a step that would take a twentieth at the peak; the first compiles for
    ten, and a save takes five."""
    now = [0.0]
    monkeypatch.setattr(log_room, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    config, kept = default(), Kept()
    config.batch_size, config.log.every_steps = 8, 2
    with Log(config, kept, 0, at_peak=0.05) as log:
        for step in range(1, 6):
            now[0] += 10.0 if step == 1 else 0.1
            if step == 1:
                log.compiled({})
            log.step(step, VALUES)
            if step == 3:
                with log.elsewhere():
                    now[0] += 5.0
        assert log.summary() == "3% of the time went into steps: 80 images a second, MFU 50.0%"
    assert list(kept.timing) == [2, 4]
    for timing in kept.timing.values():
        assert timing["timing/images_per_second"] == pytest.approx(80)
        assert timing["timing/mfu"] == pytest.approx(0.5)


def test_no_rate_of_a_step_that_compiles_and_no_mfu_without_a_peak(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(log_room, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    config, kept = default(), Kept()
    config.log.every_steps = 1
    with Log(config, kept, 0) as log:
        for step in (1, 2):
            now[0] += 1.0
            if step == 1:
                log.compiled({})
            log.step(step, VALUES)
    assert list(kept.timing[1]) == ["timing/goodput"]
    assert list(kept.timing[2]) == ["timing/goodput", "timing/images_per_second"]
