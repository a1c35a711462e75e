"""Embeddings in files that experiments start from: pairs, which of them match, labels, classes."""

import argparse
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from aligngap.errors import AligngapError, UsageError
from aligngap.gap import files, sources

FILES = "FILE.npy, FILE.npz:NAME or FILE.safetensors"  # what help texts say of embeddings


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Pairs, and classes to match the images to: what `read_pairs` and `classes` read."""
    parser.add_argument("--image", required=True, help=f"image embeddings [N, D]: {FILES}")
    parser.add_argument("--text", required=True, help="text embeddings [N, D]; row i is the pair")
    parser.add_argument(
        "--labels", help="each image's row of --classes: an array [N], or a text file of lines"
    )
    parser.add_argument("--classes", help="embeddings of the classes' texts [C, D]")


def read_pairs(
    image_path: str | Path, text_path: str | Path
) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "N D"]]:
    """Two files of embeddings whose rows i are a pair, N ≥ 4; AligngapError says what is wrong."""
    files.pair(image_path, text_path, least=4)
    return files.load(image_path), files.load(text_path)


def classes(
    arguments: argparse.Namespace, image: np.ndarray
) -> tuple[Int[np.ndarray, "N"], Float[np.ndarray, "C D"] | None]:
    """Labels and class embeddings that fit the images; (zeros, None) where none were given."""
    if not (arguments.labels or arguments.classes):
        return np.zeros(len(image), int), None
    if not (arguments.labels and arguments.classes):
        raise UsageError("--labels and --classes go together: each label is a row of --classes")
    found = read_texts(arguments.classes, image.shape[1])
    names, index = sources.labels(arguments.labels, len(image), "images")
    for name in names:
        if not (name.isdecimal() and int(name) < len(found)):
            raise AligngapError(
                f"{arguments.labels}: label {name!r} is no row of {arguments.classes} "
                f"(0 to {len(found) - 1})"
            )
    return np.array([int(name) for name in names])[index], found


def read_texts(given: str, width: int) -> Float[np.ndarray, "C D"]:
    """Embeddings of at least two texts, of the images' width; AligngapError says what is wrong."""
    found = files.load(given)
    if found.shape[1] != width or len(found) < 2:
        raise AligngapError(f"{given} has shape {found.shape}; expected [C, {width}], C ≥ 2")
    return found
