"""What a folder or a file of strangers holds: which code's model, its config and its tensors."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from aligngap.data.tokenizers.tokenizer import Tokenizer
from aligngap.errors import AligngapError, some
from aligngap.interop import processor, tensors
from aligngap.interop.formats import alignclip, big_vision, huggingface, npz, open_clip
from aligngap.interop.mapping import Rule
from aligngap.runs.workdir import read_json

HALF = (0.5, 0.5, 0.5)
SIGLIP_PIXELS = {"data.mean": HALF, "data.std": HALF, "data.resize": "squash"}
GENERIC = ("model", "model.safetensors.index", "pytorch_model", "open_clip_model", "parameters")


@dataclass(frozen=True)
class Found:
    """A model, before its tensors are known to be whole."""

    kind: str
    path: Path  # Of the tensors.
    fields: Mapping[str, Any]  # Of the config, flat; what the source does not state is left out.
    tensors: Mapping[str, np.ndarray]
    rules: Callable[[ConfigDict], list[Rule]]
    # Its tokenizer and what to know of it, or why there is none.
    tokenizer: tuple[Tokenizer | None, str] = (None, "the source is a file of weights alone")
    end_of_text: int | None = None  # The id at which it pools captions; None: the highest.
    cleans: bool = True  # Whether CLIP's tokenizer cleans captions there.
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What the config calls it: the file's name, or the folder's where all files are alike."""
        return self.path.parent.name if self.path.stem in GENERIC else self.path.stem


def find(source: Path) -> Found:
    """What a folder or a file holds, by the files in it or the names of its tensors."""
    if source.is_dir():
        for name, reader in FOLDERS.items():
            if (source / name).is_file():
                with _telling(source / name):
                    return reader(source)
        raise AligngapError(f"{source} holds no model: expected {' or '.join(FOLDERS)} in it")
    if not source.exists():
        raise AligngapError(f"{source} does not exist")
    config = source.parent / "open_clip_config.json"
    if config.is_file() and source.suffix != ".npz":
        with _telling(config):
            return _open_clip_folder(source.parent, source)
    return _bare(source)


@contextlib.contextmanager
def _telling(config: Path) -> Iterator[None]:
    """AligngapError where a stranger's config has an object for a number, or the like."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, KeyError, ArithmeticError) as error:
        raise AligngapError(
            f"{config}: values of no model that is known: {type(error).__name__}: {error}"
        ) from error


def _config_json(folder: Path) -> Found:
    given = read_json(folder / "config.json")
    if (folder / npz.FILE).is_file():
        path, fields = folder / npz.FILE, npz.fields(given)
        tokenizer = processor.read_own(folder, str(fields.get("data.tokenizer", "trained")))
        return Found("npz", path, fields, tensors.read(path), npz.rules, tokenizer)
    return _transformers(folder, given)


def _transformers(folder: Path, given: dict[str, Any]) -> Found:
    family = huggingface.FAMILIES.get(str(given.get("model_type")))
    if family is None:
        raise AligngapError(
            f"{folder}/config.json: unknown architecture: model_type={given.get('model_type')!r}; "
            f"expected {' or '.join(huggingface.FAMILIES)}"
        )
    path = _first(folder, "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
    siglip = family is huggingface.SIGLIP
    fields = _model(huggingface.read(family, given)) | (SIGLIP_PIXELS if siglip else {})
    pixels, notes = processor.read_image_processor(folder)
    return Found(
        f"transformers {family.architecture}",
        path,
        fields | pixels,
        _without_position_ids(tensors.read(path)),
        family.rules,
        processor.read_tokenizer(folder, fields["model.text.pooling"]),
        None if siglip else huggingface.end_of_text(given),
        cleans=False,
        notes=notes,
    )


def _open_clip_folder(folder: Path, path: Path | None = None) -> Found:
    given = read_json(folder / "open_clip_config.json")
    path = path or _first(
        folder, "open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors"
    )
    pixels = given.get("preprocess_cfg") or {}
    source = folder / "open_clip_config.json"
    fields = _model(open_clip.read(given.get("model_cfg") or given))
    squash = {"data.resize": "squash"} if pixels.get("resize_mode") == "squash" else {}
    return Found(
        "open_clip",
        path,
        fields | squash | processor.statistics(pixels.get("mean"), pixels.get("std"), source),
        open_clip.without_text_prefix(tensors.read(path)),
        open_clip.rules,
        processor.read_tokenizer(folder, fields["model.text.pooling"]),
        notes=processor.resampling(pixels.get("interpolation"), "bicubic"),
    )


def _bare(path: Path) -> Found:
    """A file of tensors alone: their names tell the code they come from, their shapes the sizes."""
    given = tensors.read(path)
    if path.suffix == ".npz":
        given = big_vision.below_params(given)
    for name, reader in BARE.items():
        if name in given:
            try:
                return reader(path, given)
            except KeyError as error:
                raise AligngapError(f"{path} lacks {error.args[0]}") from error
            except (ValueError, IndexError, ZeroDivisionError) as error:
                raise AligngapError(f"{path}: shapes of no model that is known: {error}") from error
    raise AligngapError(
        f"{path}: unknown architecture: no tensor {' or '.join(BARE)} among {some(sorted(given))}"
    )


def _bare_alignclip(path: Path, given: Mapping[str, np.ndarray]) -> Found:
    used, fields = alignclip.used(given), _model(alignclip.from_shapes(given))
    return Found("AlignCLIP", path, fields, used, alignclip.rules, notes=[UNTOLD])


def _bare_open_clip(path: Path, given: Mapping[str, np.ndarray]) -> Found:
    used = open_clip.without_text_prefix(given)
    fields = _model(open_clip.from_shapes(used))
    return Found("open_clip state dict", path, fields, used, open_clip.rules, notes=[UNTOLD])


def _bare_big_vision(path: Path, given: Mapping[str, np.ndarray]) -> Found:
    fields = _model(big_vision.from_shapes(given)) | SIGLIP_PIXELS
    stacked = big_vision.scanned(given)
    return Found(
        "big_vision",
        path,
        fields,
        given,
        lambda model: big_vision.rules(model, scanned=stacked),
        processor.read_kind(path.parent, "siglip", "last"),
    )


def _bare_transformers(path: Path, given: Mapping[str, np.ndarray]) -> Found:
    raise AligngapError(
        f"{path} is of a transformers model; give --source the folder with its config.json"
    )


UNTOLD = (
    "a state dict does not tell heads and activation: they are taken as 64 wide and as gelu; else "
    "give --config.model.image.heads, --config.model.image.activation and the text's (OpenAI's "
    "weights: quick_gelu)"
)
FOLDERS: dict[str, Callable[[Path], Found]] = {
    "config.json": _config_json,
    "open_clip_config.json": _open_clip_folder,
}
# By a tensor that only one code's models have.
BARE: dict[str, Callable[[Path, Mapping[str, np.ndarray]], Found]] = {
    "projection": _bare_alignclip,
    "visual.conv1.weight": _bare_open_clip,
    "img/embedding/kernel": _bare_big_vision,
    "vision_model.embeddings.patch_embedding.weight": _bare_transformers,
}


def _model(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {f"model.{name}": value for name, value in fields.items()}


def _first(folder: Path, *names: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise AligngapError(f"{folder} is no whole model: it has none of {', '.join(names)}")


def _without_position_ids(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Older versions saved this buffer: 0, 1, 2, ..."""
    return {name: array for name, array in given.items() if not name.endswith(".position_ids")}
