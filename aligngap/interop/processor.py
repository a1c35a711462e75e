"""What stands beside the weights in transformers: tokenizer and image processor, both ways."""

import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from aligngap import whole
from aligngap.data import tokenizer
from aligngap.data.tokenizer import END, FILE, START, Tokenizer
from aligngap.errors import AligngapError
from aligngap.training.workdir import read_json

BICUBIC = 3  # Pillow's number.


def write_tokenizer(words: Tokenizer, context_length: int, folder: Path) -> None:
    """tokenizer.json and what CLIPTokenizer, also of older versions, wants beside it."""
    words.save(folder)
    model = json.loads(words.backend.to_str())["model"]
    merges = "".join(f"{left} {right}\n" for left, right in model["merges"])
    whole.write(folder / "merges.txt", "#version: 0.2\n" + merges)
    whole.write(folder / "vocab.json", json.dumps(model["vocab"], ensure_ascii=False))
    special = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    settings = special | {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": context_length,
        "split_special_tokens": True,  # "<|endoftext|>" in a caption is text, as it is here.
    }
    _write_json(folder / "tokenizer_config.json", settings)
    _write_json(folder / "special_tokens_map.json", special)


def write_image_processor(config: ConfigDict, folder: Path) -> None:
    """preprocessor_config.json: the shorter side resized, the centre cropped, normalised."""
    size, data = config.model.image.size, config.data
    settings = {
        "image_processor_type": "CLIPImageProcessor",
        "processor_class": "CLIPProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": size},
        "resample": BICUBIC,
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(data.mean),
        "image_std": list(data.std),
    }
    _write_json(folder / "preprocessor_config.json", settings)


def read_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer of a folder if it has one of CLIP's form."""
    if not (folder / FILE).is_file():
        return _from_merges(folder / "merges.txt")
    try:
        return tokenizer.load(folder)
    except AligngapError:  # It has one of another form.
        return None


def read_image_processor(folder: Path) -> dict[str, Any]:
    """mean and std of config.data as the folder states them; empty where it does not.

    AligngapError for a file without three numbers each.
    """
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file():
            found = read_json(folder / name)
            found = found.get("image_processor", found)
            return statistics(found.get("image_mean"), found.get("image_std"), folder / name)
    return {}


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
    return tokenizer.from_merges([(left, right) for left, right in pairs])


def _write_json(path: Path, content: dict[str, Any]) -> None:
    whole.write(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
