"""`aligngap import`: a model trained elsewhere → a workdir with its parameters at step 0."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from aligngap import atomic, weights
from aligngap import config as configs
from aligngap.data import tokenizers
from aligngap.data.tokenizers.tokenizer import Tokenizer
from aligngap.errors import AligngapError, UsageError
from aligngap.interop import mapping, sources
from aligngap.interop.sources import Found
from aligngap.models import dual_encoder, parameters, positions
from aligngap.models.logit_scale import scale_of
from aligngap.parallel import mesh as meshes
from aligngap.runs import provenance, workdir
from aligngap.runs.checkpoints import Checkpoints
from aligngap.runs.model import Model
from aligngap.runs.position import Position


def import_model(
    source: Path, folder: Path, overrides: Sequence[str], data_dir: str, command: Sequence[str]
) -> str:
    """Reads a model and writes its workdir, whole or not at all; returns what was done.

    `overrides` (--config.key=value) say what the source does not. AligngapError for a source that
    is damaged, incomplete or of an architecture that our towers do not have.
    """
    atomic.empty(folder)
    found = sources.find(weights.find(source))
    config = config_of(found, overrides, data_dir)
    params = params_of(found, config)
    tokenizer, notes = _tokenizer(found, config)
    with atomic.folder(folder) as filling:
        workdir.claim(filling, config)
        provenance.record(filling, command)
        if tokenizer:
            tokenizer.save(filling / "tokenizer")
        save(filling, config, params)
    return _summary(found, config, folder, notes)


def open_source(found: Found, folder: Path) -> Model:
    """The model on all devices there are, without a workdir; errors as `import_model`."""
    config = config_of(found, (), "")
    params = nn.unbox(params_of(found, config))
    mesh, module = meshes.make(config), dual_encoder.make(config)
    layout = meshes.shardings(parameters.abstract(config, module), mesh)
    placed = jax.tree.map(jax.device_put, params, layout)
    return Model(config, folder, 0, mesh, module, placed, _tokenizer(found, config)[0])


def params_of(found: Found, config: ConfigDict) -> Any:
    """The source's tensors as our parameters; positions fitted to an image size that is given.

    The config's greatest scale becomes the model's own where that is above it, as SigLIP's may be.
    """
    own = ConfigDict(config.to_dict())
    own.model.image.size = found.fields.get("model.image.size", config.model.image.size)
    _check_sizes(found, own.model)
    abstract = parameters.abstract(own, dual_encoder.make(own))
    rules = found.rules(own.model)
    params = mapping.to_ours(rules, found.tensors, abstract, str(found.path))
    scale = float(scale_of(params["logit_scale"], config.model.scale_form))
    config.model.scale_max = max(config.model.scale_max, scale)
    return positions.fitted(params, config.model)


def _check_sizes(found: Found, model: ConfigDict) -> None:
    """AligngapError for sizes beyond what the tensors hold, before names are made of that many."""
    shapes = [array.shape for array in found.tensors.values()]
    numbers = sum(array.size for array in found.tensors.values())
    layers = max(len(shapes), *(max(shape, default=0) for shape in shapes), 0)
    defaults = configs.keys(configs.default().model)
    for name, value in configs.keys(model).items():
        most = layers if name.endswith("layers") else numbers
        switch = isinstance(value, bool) != isinstance(defaults[name], bool)
        if switch or (isinstance(value, int) and value > most):
            raise AligngapError(
                f"{found.path}: its config says {name}={value}, and it holds {len(shapes):,} "
                f"tensors of {numbers:,} numbers"
            )


def save(folder: Path, config: ConfigDict, params: Any) -> None:
    """A checkpoint of step 0, of parameters alone: nothing has been optimised."""
    arrays = jax.tree.map(jnp.asarray, params)
    with Checkpoints(folder, config, writing=True) as checkpoints:
        checkpoints.save(0, {"params": arrays}, Position(0).saved(config), {})


def config_of(found: Found, overrides: Sequence[str], data_dir: str) -> ConfigDict:
    config = configs.default()
    config.name = found.name
    config.data.data_dir = data_dir
    try:
        config.update_from_flattened_dict(dict(found.fields))
        if found.tokenizer[0] and "data.tokenizer" not in found.fields:
            config.data.tokenizer = tokenizers.name_of(found.tokenizer[0])
        text = config.model.text
        clips = text.vocab_size == configs.CLIP_VOCABULARY and text.pooling == "end_of_text"
        if clips and "data.tokenizer" not in found.fields:
            config.data.tokenizer = "clip" if found.cleans else "clip_fast"
        configs.validate(config)
        tokenizers.check(config)
    except (UsageError, TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise AligngapError(f"{found.path}: unknown architecture: {error}") from error
    config = configs.overridden(config, overrides)
    tokenizers.check(config)
    return config


def _tokenizer(found: Found, config: ConfigDict) -> tuple[Tokenizer | None, list[str]]:
    """That of the source; else CLIP's where the model has its vocabulary and it is prepared."""
    (tokenizer, note), kind = found.tokenizer, tokenizers.find(config.data.tokenizer)
    # Pooled at the last token, texts depend on the padding, which the source does not tell.
    pools_last = config.model.text.pooling == "last"
    if tokenizer is None and kind.size is not None and not pools_last:
        try:
            tokenizer, note = tokenizers.make(config, ()), ""
        except AligngapError as error:
            note = str(error)
    _check_tokens(found, tokenizer, config.model.text.vocab_size)
    as_told = tokenizer and kind.like(tokenizer)
    if tokenizer and not as_told:
        raise UsageError(
            f"data.tokenizer={config.data.tokenizer} is none of the form that {found.path.parent} "
            "holds"
        )
    note = note if tokenizer else f"no tokenizer was imported: {note}"
    return as_told, [note] if note else []


def _check_tokens(found: Found, tokenizer: Tokenizer | None, vocab_size: int) -> None:
    """AligngapError where the tokenizer does not fit the model, or it pools at another token."""
    last = (tokenizer.vocab_size if tokenizer else vocab_size) - 1
    if last >= vocab_size:
        raise AligngapError(
            f"{found.path.parent}: its tokenizer has {last + 1} tokens, its model {vocab_size}"
        )
    if found.end_of_text not in (None, last):
        raise AligngapError(
            f"{found.path.parent}: texts are pooled at token {found.end_of_text}; expected the "
            f"highest id, {last}"
        )


def _summary(found: Found, config: ConfigDict, folder: Path, notes: Sequence[str]) -> str:
    model = config.model
    image, text = model.image, model.text
    lines = [
        f"Imported {found.kind} {found.path} into {folder}",
        f"images {image.size} px, patch {image.patch_size}, width {image.width}, {image.layers} "
        f"layers; texts {text.context_length} of {text.vocab_size} tokens, width {text.width}, "
        f"{text.layers} layers; embedding {model.embed_dim}",
    ]
    return "\n".join(lines + [f"Note: {note}" for note in (*found.notes, *notes)])
