"""What stands beside the weights in transformers: tokenizer and image processor, both ways."""

import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from aligngap import atomic
from aligngap.data import tokenizers
from aligngap.data.tokenizers import bpe
from aligngap.data.tokenizers.bpe import Trained
from aligngap.data.tokenizers.siglip import FILE, TRANSFORMERS, UNMASKED, Siglip
from aligngap.data.tokenizers.tokenizer import Tokenizer
from aligngap.errors import AligngapError
from aligngap.runs.workdir import read_json

BICUBIC = 3  # Pillow's number.


def write_tokenizer(tokenizer: Tokenizer, context_length: int, folder: Path) -> None:
    """What transformers' own tokenizer, which open_clip uses too, wants in its folder."""
    files = tokenizer.for_transformers(context_length)
    tokenizer.save(folder)
    for name, content in files.items():
        atomic.write(folder / name, content)


def write_image_processor(config: ConfigDict, folder: Path) -> None:
    """preprocessor_config.json: made square as `data.resize` says, normalised."""
    size, data = config.model.image.size, config.data
    square, squash = {"height": size, "width": size}, data.resize == "squash"
    family = tokenizers.find(data.tokenizer).family
    settings = {
        "image_processor_type": f"{family}ImageProcessor",
        "processor_class": f"{family}Processor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": square if squash else {"shortest_edge": size},
        "resample": BICUBIC,
        "do_center_crop": not squash,
        "crop_size": square,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(data.mean),
        "image_std": list(data.std),
    }
    atomic.write_json(folder / "preprocessor_config.json", settings)


def read_tokenizer(folder: Path, pooling: str) -> tuple[Tokenizer | None, str]:
    """The tokenizer of a folder with a note, or None and why; AligngapError for a damaged one.

    A model that pools at the last token sees the padding: it must be as it is there.
    """
    if (folder / FILE).is_file():
        return read_sentencepieces(folder)
    tokenizer = _clip(folder)
    if tokenizer is None:
        return None, "the source has none of CLIP's or SigLIP's form"
    if pooling == "last" and (pad := _settings(folder).get("pad_token")) != bpe.END:
        return (
            None,
            f"texts are pooled at the last token, and it pads with {pad!r}, not {bpe.END!r}",
        )
    return tokenizer, ""


def read_sentencepieces(folder: Path) -> tuple[Tokenizer | None, str]:
    """The folder's spiece.model with a note, or None and why; AligngapError for a damaged one."""
    if not (folder / FILE).is_file():
        return None, f"{folder} holds no {FILE}"
    settings = _settings(folder)
    for name, value in TRANSFORMERS.items():
        if settings.get(name, value) != value:
            return None, f"{name} of its tokenizer_config.json is {settings[name]!r}, not {value!r}"
    masked = settings.get("model_input_names", None if settings else UNMASKED) != UNMASKED
    note = "transformers hides the padding of texts unless tokenizer_config.json has "
    note += f'"model_input_names": {json.dumps(UNMASKED)}; here it is read, as SigLIP was trained'
    return Siglip.load(folder), note if masked else ""


def _settings(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json; tokens, which older versions wrote with their options, bare."""
    path = folder / "tokenizer_config.json"
    given = read_json(path) if path.is_file() else {}
    return {k: v.get("content") if isinstance(v, dict) else v for k, v in given.items()}


def _clip(folder: Path) -> Tokenizer | None:
    if not (folder / bpe.FILE).is_file():
        return _from_merges(folder / "merges.txt")
    try:
        return Trained.load(folder)
    except AligngapError:  # It has one of another form.
        return None


def read_image_processor(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """mean, std and resize of config.data as the folder states them; a note on what is not so here.

    AligngapError for a file without three numbers each.
    """
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file():
            found = read_json(folder / name)
            found = found.get("image_processor", found)
            fields = statistics(found.get("image_mean"), found.get("image_std"), folder / name)
            size = found.get("size")
            if isinstance(size, dict):
                squash = {"height", "width"} <= size.keys()
                fields["data.resize"] = "squash" if squash else "crop"
            return fields, resampling(found.get("resample"), BICUBIC)
    return {}, []


def resampling(filter: Any, ours: Any) -> list[str]:
    """A note where images are resized by another filter than here."""
    if filter in (None, ours):
        return []
    return [f"it resizes images with filter {filter}; here it is bicubic ({ours})"]


def statistics(mean: Any, std: Any, source: Path) -> dict[str, Any]:
    """{"data.mean": ..., "data.std": ...} out of a file of strangers."""
    if mean is None and std is None:
        return {}
    for values in (mean, std):
        numbers = isinstance(values, list) and all(isinstance(v, int | float) for v in values)
        if not numbers or len(values) != 3:
            raise AligngapError(
                f"{source}: mean {mean} and std {std} of pixels: expected 3 numbers"
            )
    return {"data.mean": tuple(map(float, mean)), "data.std": tuple(map(float, std))}


def _from_merges(path: Path) -> Tokenizer | None:
    if not path.is_file():
        return None
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    if not all(len(pair) == 2 for pair in pairs):
        raise AligngapError(f"{path} is no list of merges: expected two tokens a line")
    return Trained(bpe.backend_of([(left, right) for left, right in pairs]))
