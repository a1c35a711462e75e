"""`aligngap export`: a workdir's model as other programs read it, beside a model card."""

import dataclasses
import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from safetensors.numpy import save

from aligngap import atomic
from aligngap.config import MODALITIES
from aligngap.data.tokenizers.tokenizer import Tokenizer
from aligngap.errors import AligngapError, UsageError
from aligngap.interop import card, mapping, opening, processor, rounding, stablehlo
from aligngap.interop.formats import huggingface, npz, open_clip
from aligngap.models.logit_scale import with_bias_form
from aligngap.runs.model import Model

Write = Callable[[Path], None]  # Fills a folder with what has been computed before.


def export(
    workdir: Path, form: str, output: Path, step: int | None = None, dtype: str = "float32"
) -> str:
    """Writes the folder `output`, whole or not at all; returns what was done.

    `dtype` is of the parameters of npz. AligngapError for a model that the format cannot express
    exactly, with every reason.
    """
    atomic.empty(output)
    half = dtype == "float16"
    if half and form != "npz":
        raise UsageError(f"--dtype=float16 goes with --format=npz, not {form}")
    model = _absolute(opening.load(workdir, step))
    write = _npz(model, half) if half else WRITERS[form](model)
    readme = card.text(model, form, half)
    with atomic.folder(output) as folder:
        write(folder)
        atomic.write(folder / "README.md", readme)
    return f"Exported {workdir} at step {model.step} for {form} into {output}"


def _absolute(model: Model) -> Model:
    """The model with its bias, if it is relative, as other programs have theirs."""
    if model.config.model.bias_form == "absolute":
        return model
    config = ConfigDict(model.config.to_dict())
    params = with_bias_form(model.params, config.model, "absolute")
    config.model.update(bias_form="absolute", bias_init=float(params["logit_bias"]))
    return dataclasses.replace(model, config=config, params=params)


def _transformers(model: Model) -> Write:
    family = _family(model)
    text = model.config.model.text
    tokenizer = model.tokenizer
    end = tokenizer.end_id if tokenizer else text.vocab_size - 1
    padding = tokenizer.padding_id if tokenizer else end
    config = huggingface.write(family, model.config.model, end, padding)
    tensors = mapping.to_theirs(family.rules(model.config.model), model.params)

    def write(folder: Path) -> None:
        atomic.write_json(folder / "config.json", config)
        _write_tensors(folder / "model.safetensors", tensors)
        _write_tokenizer(tokenizer, text.context_length, folder)
        processor.write_image_processor(model.config, folder)

    return write


def _open_clip(model: Model) -> Write:
    config = model.config
    _refuse(list(open_clip.problems(config.model)), "open_clip")
    settings = open_clip.write(config.model, config.data, model.tokenizer is not None)
    tensors = mapping.to_theirs(open_clip.rules(config.model), model.params)

    def write(folder: Path) -> None:
        atomic.write_json(folder / "open_clip_config.json", settings)
        _write_tensors(folder / "open_clip_model.safetensors", tensors)
        _write_tokenizer(model.tokenizer, config.model.text.context_length, folder)

    return write


def _npz(model: Model, half: bool = False) -> Write:
    arrays = mapping.to_theirs(npz.rules(model.config.model), model.params)
    arrays = rounding.rounded(arrays) if half else arrays
    archive = io.BytesIO()
    np.savez(archive, **arrays)  # type: ignore[arg-type]

    def write(folder: Path) -> None:
        atomic.write_json(folder / "config.json", npz.write(model.config))
        atomic.write(folder / npz.FILE, archive.getvalue())
        if model.tokenizer:
            model.tokenizer.save(folder)

    return write


def _stablehlo(model: Model) -> Write:
    write_parameters = _npz(model)
    programs = {modality: stablehlo.program(model, modality) for modality in MODALITIES}

    def write(folder: Path) -> None:
        write_parameters(folder)
        atomic.write_json(folder / stablehlo.SETTINGS, stablehlo.settings(model))
        for modality, program in programs.items():
            atomic.write(folder / stablehlo.file(modality), program)

    return write


WRITERS: Mapping[str, Callable[[Model], Write]] = {
    "transformers": _transformers,
    "open_clip": _open_clip,
    "npz": _npz,
    "stablehlo": _stablehlo,
}


def _family(model: Model) -> huggingface.Family:
    """The class of transformers that expresses the model; else why the likeliest does not."""
    reasons = {
        name: list(f.problems(model.config.model)) for name, f in huggingface.FAMILIES.items()
    }
    name = min(reasons, key=lambda name: len(reasons[name]))
    _refuse(reasons[name], "transformers")
    return huggingface.FAMILIES[name]


def _refuse(reasons: list[str], form: str) -> None:
    if reasons:
        raise AligngapError(
            f"{form} cannot express this model exactly: {'; '.join(reasons)}. --format=npz can"
        )


def _write_tokenizer(tokenizer: Tokenizer | None, context_length: int, folder: Path) -> None:
    if tokenizer:
        processor.write_tokenizer(tokenizer, context_length, folder)


def _write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    # transformers refuses a file that does not say whose tensors it holds.
    atomic.write(path, save(dict(tensors), metadata={"format": "pt"}))
