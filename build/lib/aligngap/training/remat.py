"""`model.remat="auto"`: the policy of the least recomputation whose compiled step fits the devices.

Decided at each start by the figures of XLA for the devices at hand, since it changes what a step
costs and nothing of what is learnt: a run may go on with another policy on other devices.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

import jax
from ml_collections import ConfigDict

from aligngap import devices, progress
from aligngap.config import REMAT
from aligngap.errors import UsageError
from aligngap.parallel import distributed

SHARE = 0.95  # Of a device's memory that a step may take: the next batch and evaluators need some.
GB = 1e9


class Compiles(Protocol):
    """A step that can be compiled before there is a state."""

    def step_bytes(self) -> float:
        """Bytes on a device while it runs."""


Made = TypeVar("Made", bound=Compiles)


def fitted(
    config: ConfigDict,
    make: Callable[[ConfigDict], Made],
    memory: Callable[[], float] = devices.memory,
) -> Made:
    """What `make` makes of the config, its policy decided by the bytes that a device has, and said;
    the same on all processes. UsageError where a step of no policy fits."""
    if config.model.remat != "auto":
        return make(config)
    tried = []
    for policy in REMAT:
        made = make(under(config, policy))
        needs, limits = zip(*distributed.gathered([made.step_bytes(), memory()]), strict=True)
        tried.append(f"{policy}, {max(needs) / GB:.3g} GB")
        if max(needs) <= SHARE * min(limits):
            if jax.process_index() == 0:
                more = f" ({'; '.join(tried[:-1])})" if tried[:-1] else ""
                progress.say(f"Remat: {tried[-1]} of {min(limits) / GB:.3g} a device{more}")
            return made
    raise UsageError(
        f"model.remat=auto: a device has {min(limits) / GB:.3g} GB, of which a step may take "
        f"{SHARE:.0%} ({'; '.join(tried)}): lower batch_size, or raise microbatches or mesh.fsdp"
    )


def under(config: ConfigDict, policy: str) -> ConfigDict:
    """The config with a policy in place of its own."""
    own = config.copy_and_resolve_references()
    own.model.remat = policy
    return own
