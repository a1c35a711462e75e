"""Whether the numbers of a run are well: not finite, or a sudden rise of the loss."""

import math
from collections import deque
from collections.abc import Mapping

import numpy as np
from ml_collections import ConfigDict

from aligngap import progress
from aligngap.errors import AligngapError
from aligngap.runs.position import Position

# The loss and its gradient are of the parameters before the step, the update is the step's.
WATCHED = ("loss", "gradient_norm", "update_norm")


class Spike(Exception):
    """The loss of `step` rose beyond the limit: the attempt from `start` on is to go back."""

    def __init__(self, step: int, start: Position) -> None:
        super().__init__(f"step {step}")
        self.step, self.start = step, start


class Health:
    """Sees every step's values in order; the same on all processes, since the values are."""

    def __init__(self, config: ConfigDict, start: Position) -> None:
        self._health, self._start = config.health, start
        self._losses = deque(start.losses, maxlen=config.health.spike_window)
        self._in_a_row = 0

    @property
    def losses(self) -> tuple[float, ...]:
        """The latest finite ones."""
        return tuple(self._losses)

    def see(self, step: int, values: Mapping[str, float]) -> None:
        """AligngapError after too many steps that are not finite; Spike where one rolls back."""
        bad = [name for name in WATCHED if not math.isfinite(values[name])]
        if bad:
            self._skipped(step, bad[0], values[bad[0]])
            return
        self._in_a_row = 0
        if self._rises(values["loss"]):
            self._spiked(step, values["loss"])
        self._losses.append(values["loss"])

    def _skipped(self, step: int, name: str, value: float) -> None:
        self._in_a_row += 1
        limit = self._health.skip_nonfinite
        if self._in_a_row > limit:
            skipped = f", and {limit} steps before it were skipped" if limit else ""
            raise AligngapError(
                f"{name} is {value} at step {step}{skipped}; the last good checkpoint is kept. "
                "Start a new --workdir with a lower optimizer.peak_lr or an optimizer.clip_norm"
            )
        progress.say(f"Step {step} is skipped: its {name} is {value} ({self._in_a_row} in a row)")

    def _rises(self, loss: float) -> bool:
        full = len(self._losses) == self._health.spike_window
        if not (self._health.spike_sigma and full):
            return False
        return loss > np.mean(self._losses) + self._health.spike_sigma * np.std(self._losses)

    def _spiked(self, step: int, loss: float) -> None:
        window, mean = self._health.spike_window, np.mean(self._losses)
        progress.say(f"Loss spike at step {step}: {loss:.3f}, mean of {window} before {mean:.3f}")
        if self._start.roll_backs < self._health.roll_backs:
            raise Spike(step, self._start)
