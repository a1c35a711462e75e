"""Where a run starts: fresh parameters, or another workdir's model with some of them fresh.

Weights alone, as distinct from going on with a run: no optimiser state, no position in the data.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh
from ml_collections import ConfigDict

from aligngap import config as configs
from aligngap import weights
from aligngap.data import tokenizers
from aligngap.data.tokenizers.tokenizer import Tokenizer
from aligngap.errors import AligngapError, UsageError
from aligngap.models import dual_encoder, parameters, positions
from aligngap.models.dual_encoder import DualEncoder
from aligngap.models.logit_scale import with_bias_form
from aligngap.parallel import mesh as meshes
from aligngap.runs import model as models
from aligngap.runs import workdir
from aligngap.runs.checkpoints import Checkpoints

# Of a model, what neither changes the meaning of an array that is taken over nor the others' use.
# A bias of another form is converted.
OWN = (
    *("embed_dim", "scale_init", "scale_max", "bias_init", "logit_bias"),
    *("bias_form", "scan", "remat"),
    *("image.size", "image.patch_dropout", "image.projection"),
    *("text.projection", "text.vocab_size"),
)
SHARED = ("data.mean", "data.std", "data.resize", "data.tokenizer")
TOKENS = "text_input/tokens/embedding"


@dataclass(frozen=True)
class InitialModel:
    """The model of the workdir that `init_from` names."""

    config: ConfigDict
    folder: Path
    step: int


def find(config: ConfigDict) -> InitialModel | None:
    """The model that a run starts from, checked to fit; None for one that starts fresh.

    UsageError with the flags to give where the two models are not of one kind, and for parameters
    of other shapes that are not named in `fresh`.
    """
    if config.objective.distillation_weight and (config.fresh or not config.init_from):
        raise UsageError(
            "objective.distillation_weight needs --init_from=DIR, a model that teaches as it is: "
            f"given {config.init_from!r} and fresh={config.fresh}"
        )
    if not config.init_from:
        if config.fresh:
            raise UsageError(f"fresh={config.fresh} says what --init_from=DIR does not give")
        return None
    folder = weights.find(config.init_from)
    if folder.is_dir() and not (folder / "checkpoints").is_dir():
        why = "comes with aligngap" if weights.holds(folder) else "has no checkpoints"
        raise UsageError(
            f"--init_from={config.init_from} {why}, so it is no workdir; a model becomes one by "
            f"`aligngap import --source={config.init_from} --workdir=DIR`, then --init_from=DIR"
        )
    held = workdir.read_config(folder)
    with Checkpoints(folder, held) as checkpoints:
        source = InitialModel(held, folder, checkpoints.choose(None))
    _check_kind(config, source)
    _check_shapes(config, source)
    return source


def params(config: ConfigDict, module: DualEncoder, mesh: Mesh, source: InitialModel | None) -> Any:
    """The parameters at step 0 on the mesh."""
    layout = meshes.shardings(parameters.abstract(config, module), mesh)
    make = jax.jit(lambda: nn.unbox(parameters.initial(config, module)), out_shardings=layout)
    return taken_over(config, make(), mesh, source)


def taken_over(config: ConfigDict, fresh: Any, mesh: Mesh, source: InitialModel | None) -> Any:
    """Fresh parameters, with those of the source in their place but where they are to be fresh."""
    if source is None:
        return fresh
    with Checkpoints(source.folder, source.config) as checkpoints:
        held = dual_encoder.make(source.config)
        other = models.restore_params(source.config, held, mesh, checkpoints, source.step)
    other = with_bias_form(other, source.config.model, config.model.bias_form)
    layout = jax.tree.map(lambda array: array.sharding, fresh)
    merge = jax.jit(lambda own, theirs: _merged(config, own, theirs), out_shardings=layout)
    return merge(fresh, other)


def tokenizer(config: ConfigDict, source: InitialModel | None) -> Tokenizer | None:
    """The tokenizer that the source's token embeddings belong to; None where they are not taken."""
    if source is None or _is_fresh(config, TOKENS):
        return None
    path = source.folder / "tokenizer"
    if tokenizers.held(source.config, path):
        return tokenizers.reopen(source.config, path)
    if tokenizers.find(config.data.tokenizer).size is None:
        raise AligngapError(f"{source.folder} has no tokenizer, which its token embeddings need")
    return None


def _merged(config: ConfigDict, own: Any, other: Any) -> Any:
    """The other's parameters, our own where they are fresh."""
    mine = flatten_dict(own, sep="/")
    theirs = flatten_dict(positions.fitted(other, config.model), sep="/")
    return unflatten_dict(
        {name: mine[name] if _is_fresh(config, name) else theirs[name] for name in mine}, sep="/"
    )


def _is_fresh(config: ConfigDict, name: str) -> bool:
    return any(re.search(pattern, name) for pattern in config.fresh)


def _check_kind(config: ConfigDict, source: InitialModel) -> None:
    """Fields that shapes do not tell apart, such as an activation, are the source's."""
    here, there = configs.keys(config), configs.keys(source.config)
    free = {f"model.{name}" for name in OWN}
    names = [n for n in here if (n.startswith("model.") and n not in free) or n in SHARED]
    flags = [f"--config.{n}={there[n]}" for n in names if here[n] != there[n]]
    if flags:
        raise UsageError(
            f"this is not the model of --init_from={source.folder}: give " + " ".join(flags)
        )


def _check_shapes(config: ConfigDict, source: InitialModel) -> None:
    own = _shapes(config)
    # Positions of images are fitted to another size, so they are compared at our own.
    held = ConfigDict(source.config.to_dict())
    held.model.image.size = config.model.image.size
    other = _shapes(held)
    names = [n for n in own | other if not _is_fresh(config, n) and own.get(n) != other.get(n)]
    if names:
        name = names[0]
        raise UsageError(
            f"--init_from={source.folder}: {name} is {other.get(name, 'missing')} there and "
            f"{own.get(name, 'missing')} here ({len(names)} parameters differ); name what is to "
            f'start anew, as in --config.fresh="({name!r},)"'
        )


def _shapes(config: ConfigDict) -> dict[str, tuple[int, ...]]:
    """Path → shape of each parameter."""
    abstract = nn.unbox(parameters.abstract(config, dual_encoder.make(config)))
    return {name: array.shape for name, array in flatten_dict(abstract, sep="/").items()}
