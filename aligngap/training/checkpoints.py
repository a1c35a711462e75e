"""Saving and restoring a run: the only room that knows Orbax."""

import logging
from pathlib import Path

import flax.linen as nn
import jax
from ml_collections import ConfigDict
from orbax.checkpoint import v1 as ocp

from aligngap.errors import AligngapError
from aligngap.training.state import TrainState

# Orbax narrates each file that it writes; its warnings and errors still come through.
logging.getLogger("absl").setLevel(logging.WARNING)


class Checkpoints:
    """The checkpoints of a workdir: state and position in the data, saved in the background.

    A save is written beside its final name and renamed when whole, so a process that is killed at
    any moment leaves the last complete one as the latest. Close it (or use `with`) to wait for it.
    """

    def __init__(self, workdir: Path, config: ConfigDict, *, writing: bool = False) -> None:
        policies = ocp.training.preservation_policies
        self._checkpointer = ocp.training.Checkpointer(
            (workdir / "checkpoints").absolute(),
            preservation_policy=policies.LatestN(config.checkpoint.keep),
            # What is half written belongs to the process that trains; a reader leaves it alone.
            cleanup_tmp_directories=writing,
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._checkpointer.close()

    def steps(self) -> list[int]:
        """The steps of the complete checkpoints, ascending."""
        return [int(checkpoint.step) for checkpoint in self._checkpointer.checkpoints]

    def save(self, step: int, state: TrainState, position: dict[str, int]) -> None:
        """Copies the state off the device and writes it in the background."""
        parts = {"state": state, "data": position}
        self._checkpointer.save_checkpointables_async(step, parts, force=True)

    def restore(
        self, step: int, abstract: TrainState, shardings: TrainState
    ) -> tuple[TrainState, dict[str, int]]:
        """The state, laid out by `shardings` (not necessarily those it was saved from)."""
        target = jax.tree.map(
            lambda array, sharding: jax.ShapeDtypeStruct(
                array.shape, array.dtype, sharding=sharding
            ),
            nn.unbox(abstract),
            shardings,
        )
        try:
            parts = self._checkpointer.load_checkpointables(step, {"state": target, "data": None})
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise AligngapError(
                f"checkpoint of step {step} in {self._checkpointer.directory} is damaged: {reason}"
            ) from error
        return parts["state"], parts["data"]
