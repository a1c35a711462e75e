"""Saving and restoring a run: the only room that knows Orbax."""

import logging
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
from ml_collections import ConfigDict
from orbax.checkpoint import v1 as ocp

from aligngap import progress
from aligngap.errors import AligngapError
from aligngap.parallel import distributed
from aligngap.parallel import mesh as meshes
from aligngap.runs import fingerprint

# Orbax narrates each file that it writes, and logs each error that it raises as well. Of a save or
# a read that failed, asyncio and tensorstore then tell once more for every other array.
for name in ("absl", "asyncio"):
    logging.getLogger(name).setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", "coroutine 'async_serialize", RuntimeWarning)
TOLD = ("Event loop is closed", "Encountered error while reading array index")
_report = sys.unraisablehook


def _unless_told(found: "sys.UnraisableHookArgs") -> None:
    if not str(found.exc_value).startswith(TOLD):
        _report(found)


sys.unraisablehook = _unless_told
POLICIES = ocp.training.preservation_policies


class Damaged(AligngapError):
    """A checkpoint that cannot be read, or does not hold what was saved."""


class Checkpoints:
    """The checkpoints of a workdir: state and position, saved in the background.

    A save is written beside its final name and renamed when whole, so a process that is killed at
    any moment leaves the last complete one as the latest. What is restored is checked to be what
    was saved. Close it (or use `with`) to wait for it.
    """

    def __init__(self, workdir: Path, config: ConfigDict, *, writing: bool = False) -> None:
        folder = (workdir / "checkpoints").absolute()
        try:
            self._checkpointer = ocp.training.Checkpointer(
                folder,
                preservation_policy=_policy(config.checkpoint),
                # What is half written belongs to the process that trains; a reader leaves it alone.
                cleanup_tmp_directories=writing,
            )
        except (ValueError, TypeError) as error:
            raise Damaged(
                f"{folder}: one of */_CHECKPOINT_METADATA is damaged ({_reason(error)}); "
                "delete it, a checkpoint can be read without"
            ) from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._checkpointer.close()
        except (OSError, ValueError) as error:  # Of a save in the background, a full disk's too.
            raise self._unwritable(error) from error

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

    def save(
        self,
        step: int,
        state: Any,
        position: dict[str, Any],
        best: Mapping[str, float],
    ) -> None:
        """Copies the state off the device and writes it in the background.

        `best` is the value of `checkpoint.best`, by its name, where it was measured at this step.
        """
        parts = {"state": state, "data": {**position, "fingerprint": fingerprint.take(state)}}
        try:
            self._checkpointer.save_checkpointables_async(
                step, parts, force=True, metrics=dict(best) or None
            )
        except (OSError, ValueError) as error:
            raise self._unwritable(error) from error

    def restore(self, step: int, abstract: Any, shardings: Any) -> tuple[Any, dict[str, Any]]:
        """State and position of a step, laid out by `shardings` (not necessarily those it was
        saved from). Raises Damaged on every process where any of them could not read it."""
        return self._load(step, _target(abstract, shardings))

    def restore_params(self, step: int, abstract: Any, shardings: Any, *, averaged: bool) -> Any:
        """The parameters alone, or their moving average: all that an imported model has."""
        part = "averaged" if averaged else "params"
        context = ocp.Context()
        context.pytree.loading.partial_load = True
        with context:
            return self._load(step, {part: _target(abstract, shardings)})[0][part]

    def position(self, step: int) -> dict[str, Any]:
        """Where the run stood, without the state and unchecked; Damaged where it is not there."""
        return self._load(step, None)[1]

    def set_aside(self, step: int) -> None:
        """Renames a checkpoint so that it is no longer one; nothing of it is lost."""
        path = Path(self._checkpointer.directory) / str(step)
        aside = path.with_name(f"damaged_{step}")
        with distributed.together():
            if jax.process_index() == 0:
                path.rename(aside)
        progress.say(f"{path} is kept as {aside.name} and not used")
        self._checkpointer.reload()

    def _load(self, step: int, target: Any) -> tuple[Any, dict[str, Any]]:
        """Those arrays of the state, checked to be what was saved, and the position."""
        found, reason = None, ""
        try:
            parts = {"data": None} if target is None else {"state": target, "data": None}
            found = self._checkpointer.load_checkpointables(step, parts)
        except Exception as error:  # A damaged file fails in any of Orbax's and TensorStore's ways.
            reason = _reason(error)
        reason = distributed.first_words(reason)
        if not reason and found is not None and target is not None:
            reason = _changed(found["state"], found["data"].pop("fingerprint", None))
        if reason or found is None:
            raise Damaged(f"checkpoint {self._checkpointer.directory}/{step} is damaged: {reason}")
        return found.get("state"), found["data"]

    def _unwritable(self, error: Exception) -> AligngapError:
        return AligngapError(
            f"{self._checkpointer.directory} cannot be written: {_reason(error)}; the checkpoints "
            "that are complete are kept"
        )


def _target(abstract: Any, shardings: Any) -> Any:
    """What Orbax is to fill: shape and dtype of each array, and where it goes."""
    return meshes.placed(nn.unbox(abstract), shardings)


def _reason(error: Exception) -> str:
    """Orbax's words, in one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _policy(checkpoint: ConfigDict) -> Any:
    """The last few, and the best by a measured value where one is named."""
    latest = POLICIES.LatestN(checkpoint.keep)
    if not checkpoint.best:
        return latest
    best = POLICIES.BestN(
        get_metric_fn=lambda metrics: metrics[checkpoint.best],
        n=1,
        keep_checkpoints_without_metrics=False,
    )
    return POLICIES.AnyPreservationPolicy([latest, best])


def _changed(tree: Any, saved: dict[str, int] | None) -> str:
    """What of these arrays is not what was saved, as a reason; empty where all is."""
    if saved is None:
        return "it does not say what it holds"
    found = fingerprint.take(tree)
    wrong = [name for name in found if saved.get(name) != found[name]]
    return f"{wrong[0]} is not what was saved ({len(wrong)} arrays differ)" if wrong else ""
