"""A model to look at, as a workdir holds it: its parameters without an optimiser or a corpus."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from aligngap.data import vocabulary
from aligngap.data.vocabulary import AnyTokenizer
from aligngap.models import dual_encoder
from aligngap.models.dual_encoder import DualEncoder
from aligngap.parallel import mesh as meshes
from aligngap.training import state, workdir
from aligngap.training.checkpoints import Checkpoints


@dataclass(frozen=True)
class Loaded:
    """A trained or an imported model."""

    config: ConfigDict
    workdir: Path
    step: int
    mesh: Mesh
    model: DualEncoder
    params: Any
    tokenizer: AnyTokenizer | None  # None: imported without one.


def load(folder: Path, step: int | None = None) -> Loaded:
    """The model at a step (the newest) on whatever devices there are.

    AligngapError for a folder without run, and for a step that is not kept.
    """
    config = workdir.read_config(folder)
    config.mesh.update(data=-1, fsdp=1, tensor=1)
    mesh, model = meshes.make(config), dual_encoder.make(config)
    with Checkpoints(folder, config) as checkpoints:
        step = checkpoints.choose(step)
        found = params(config, model, mesh, checkpoints, step)
    path = folder / "tokenizer"
    words = vocabulary.reopen(config, path) if vocabulary.held(config, path) else None
    return Loaded(config, folder, step, mesh, model, found, words)


def params(
    config: ConfigDict, model: DualEncoder, mesh: Mesh, checkpoints: Checkpoints, step: int
) -> Any:
    """The parameters that evaluation uses: the averaged ones of a run that averages."""
    abstract = state.abstract_params(config, model)
    averaged = bool(config.optimizer.ema_decay)
    shardings = meshes.shardings(abstract, mesh)
    return checkpoints.restore_params(step, abstract, shardings, averaged=averaged)
