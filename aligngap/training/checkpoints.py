"""Saving and restoring a run: the only room that knows Orbax."""

import logging
from pathlib import Path
from typing import Any

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
        try:
            self._checkpointer.close()
        except (OSError, ValueError) as error:  # Of a save in the background, a full disk's too.
            folder = self._checkpointer.directory
            raise AligngapError(f"{folder} cannot be written: {_reason(error)}") from error

    def steps(self) -> list[int]:
        """The steps of the complete checkpoints, ascending."""
        return [int(checkpoint.step) for checkpoint in self._checkpointer.checkpoints]

    def choose(self, step: int | None) -> int:
        """The newest step, or the one that is asked for; AligngapError where it is not kept."""
        kept, workdir = self.steps(), Path(self._checkpointer.directory).parent
        if not kept:
            raise AligngapError(f"{workdir} has no checkpoint yet; `aligngap train` makes one")
        if step is not None and step not in kept:
            raise AligngapError(f"{workdir} has no checkpoint of step {step}; kept: {kept}")
        return kept[-1] if step is None else step

    def save(self, step: int, state: TrainState, position: dict[str, int]) -> None:
        """Copies the state off the device and writes it in the background."""
        parts = {"state": state, "data": position}
        self._checkpointer.save_checkpointables_async(step, parts, force=True)

    def restore(
        self, step: int, abstract: TrainState, shardings: TrainState
    ) -> tuple[TrainState, dict[str, int]]:
        """The state, laid out by `shardings` (not necessarily those it was saved from)."""
        parts = self._load(step, {"state": _target(abstract, shardings), "data": None})
        return parts["state"], parts["data"]

    def restore_params(self, step: int, abstract: Any, shardings: Any, *, averaged: bool) -> Any:
        """The parameters alone, or their moving average: all that an imported model has."""
        part = "averaged" if averaged else "params"
        context = ocp.Context()
        context.pytree.loading.partial_load = True
        with context:
            parts = self._load(step, {"state": {part: _target(abstract, shardings)}})
        return parts["state"][part]

    def _load(self, step: int, target: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._checkpointer.load_checkpointables(step, target)
        except (OSError, ValueError) as error:
            folder = self._checkpointer.directory
            raise AligngapError(
                f"checkpoint of step {step} in {folder} is damaged: {_reason(error)}"
            ) from error


def _target(abstract: Any, shardings: Any) -> Any:
    """What Orbax is to fill: shape and dtype of each array, and where it goes."""
    return jax.tree.map(
        lambda array, sharding: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding),
        nn.unbox(abstract),
        shardings,
    )


def _reason(error: Exception) -> str:
    """Orbax's words, in one line."""
    return " ".join(str(error).split())[:300]
