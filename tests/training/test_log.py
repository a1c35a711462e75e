"""What the log makes of time."""

from types import SimpleNamespace

import jax.numpy as jnp
import pytest

from aligngap.config import default
from aligngap.runs.position import Position
from aligngap.training import log as log_room
from aligngap.training.health import Health
from aligngap.training.log import Log
from aligngap.training.metrics import NoWriters

METRICS = {"loss": 1.0, "gradient_norm": 1.0, "update_norm": 1.0, "request": 0}


def test_goodput_is_the_share_of_steps_also_after_something_else(monkeypatch):
    """A fifth of a second each: compiling, a step, an evaluation, a step."""
    now = [0.0]
    monkeypatch.setattr(log_room, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    config, arrays = default(), {name: jnp.asarray(value) for name, value in METRICS.items()}
    with Log(config, NoWriters(), 0, Health(config, Position(0))) as log:
        for step in (1, 2, 3):
            now[0] += 0.2
            log.step(step, arrays)
            if step == 2:
                log.settle()
                with log.elsewhere():
                    now[0] += 0.2
        assert log.goodput() == pytest.approx(0.5)
