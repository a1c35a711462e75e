"""Metrics are read one step late: the device works on a step while the host reads the last."""

from collections.abc import Callable, Mapping

import jax

See = Callable[[int, dict[str, float]], None]


class Late:
    """Shows every step's values, in order, to `see`; dispatch never waits for them."""

    def __init__(self, see: See) -> None:
        self._see = see
        self._pending: tuple[int, Mapping[str, jax.Array]] | None = None

    def put(self, step: int, metrics: Mapping[str, jax.Array]) -> None:
        """Shows the step before, and keeps this one's arrays."""
        self.read()
        self._pending = (step, metrics)

    def read(self) -> None:
        """Waits for the step that is kept and shows it, if there is one."""
        if self._pending is None:
            return
        (step, arrays), self._pending = self._pending, None
        self._see(step, {name: float(value) for name, value in jax.device_get(arrays).items()})
