"""What stands beside the weights in transformers: tokenizer and image processor, both ways."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from aligngap import atomic
from aligngap.data import tokenizers
from aligngap.data.tokenizers.tokenizer import Tokenizer
from aligngap.errors import AligngapError, UsageError
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
    """That of a folder of transformers or open_clip with a note, or None and why.

    AligngapError for a damaged one.
    """
    # Later lines of the table first: with a spiece.model it is SigLIP's, whatever else is there.
    for name in reversed(tokenizers.TOKENIZERS):
        if found := tokenizers.find(name).read(folder, lambda: _settings(folder), pooling):
            return found
    return None, "the source has none of CLIP's or SigLIP's form"


def read_kind(folder: Path, name: str, pooling: str) -> tuple[Tokenizer | None, str]:
    """The same, where the source tells which one it is."""
    kind = tokenizers.find(name)
    found = kind.read(folder, lambda: _settings(folder), pooling)
    return found or (None, f"{folder} holds no {kind.file}")


def read_own(folder: Path, name: str) -> tuple[Tokenizer | None, str]:
    """What `save` left in an export of ours, by its name in the config there, or None and why.

    AligngapError for a damaged one, and for one whose class is not at hand.
    """
    try:
        kind = tokenizers.find(name)
    except UsageError as error:
        raise AligngapError(f"{folder}: {error}") from error
    if not (folder / kind.file).is_file():
        return None, f"{folder} holds no {kind.file}"
    return kind.load(folder), ""


def _settings(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json; tokens, which older versions wrote with their options, bare."""
    path = folder / "tokenizer_config.json"
    given = read_json(path) if path.is_file() else {}
    return {k: v.get("content") if isinstance(v, dict) else v for k, v in given.items()}


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
