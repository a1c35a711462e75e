"""Where a run stands: what a checkpoint holds beside the state, to go on as if never stopped."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from aligngap.errors import AligngapError


@dataclass(frozen=True)
class Position:
    """After `step` steps. Batch number step + skipped comes next."""

    step: int
    skipped: int = 0  # Batches passed over by rolling back.
    roll_backs: int = 0
    evaluated: bool = True  # False: stopped before the evaluation that was due at this step.
    losses: tuple[float, ...] = ()  # The latest, by which a spike is told.
    replaced: int = 0  # Rows up to here that stood in for a record that could not be read.

    def after(
        self, step: int, *, evaluated: bool, losses: tuple[float, ...], replaced: int
    ) -> "Position":
        """Further on in the same stream of batches."""
        return dataclasses.replace(
            self, step=step, evaluated=evaluated, losses=losses, replaced=replaced
        )

    def rolled_back(self, spike: int, start: "Position") -> "Position":
        """Rolled back here from step `spike` of an attempt that started at `start`, which may have
        been rolled back before: the batches in between are not seen again."""
        skipped = start.skipped + spike - self.step
        return dataclasses.replace(self, skipped=skipped, roll_backs=start.roll_backs + 1)

    def saved(self, config: ConfigDict) -> dict[str, Any]:
        """As JSON in a checkpoint."""
        return {**dataclasses.asdict(self), **_stream(config), "losses": list(self.losses)}


def read(saved: dict[str, Any], config: ConfigDict) -> Position:
    """What `saved` wrote; AligngapError where the config's stream of examples is another."""
    held = {name: saved.get(name) for name in _stream(config)}
    if held != _stream(config):
        raise AligngapError(f"its examples are those of {held}, this config's {_stream(config)}")
    fields = {field.name: saved[field.name] for field in dataclasses.fields(Position)}
    return Position(**{**fields, "losses": tuple(fields["losses"])})


def _stream(config: ConfigDict) -> dict[str, int]:
    """What decides which examples a step sees."""
    return {"seed": config.seed, "batch_size": config.batch_size}
