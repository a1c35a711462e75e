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
