"""Embeddings in files that experiments start from: pairs, which of them match, labels, classes."""

import argparse
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from aligngap.errors import AligngapError, UsageError
from aligngap.gap import files


def read_pairs(
    image_path: Path, text_path: Path
) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "N D"]]:
    """Two files of embeddings whose rows i are a pair, N ≥ 4; AligngapError says what is wrong."""
    image, text = files.load(image_path), files.load(text_path)
    if image.shape != text.shape:
        raise AligngapError(
            f"{image_path} has shape {image.shape} and {text_path} {text.shape}; expected the same "
            "[N, D], row i of both being a pair"
        )
    if len(image) < 4:
        raise AligngapError(f"{image_path} holds {len(image)} pairs; this needs at least 4")
    return image, text


def sample(count: int, most: int, seed: int) -> Int[np.ndarray, "n"]:
    """All rows, or `most` of them in their order, drawn by the seed."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def matches(
    image: Float[np.ndarray, "N D"], text: Float[np.ndarray, "N D"]
) -> Int[np.ndarray, "N"]:
    """A label a pair: pairs that share an image or a caption (equal rows) answer each other."""
    own = [np.unique(x, axis=0, return_inverse=True)[1].reshape(-1) for x in (image, text)]
    size = int(max(own[0].max(), own[1].max())) + 1
    links = sparse.coo_array((np.ones(len(image)), (own[0], own[1] + size)), (2 * size, 2 * size))
    return connected_components(links, directed=False)[1][own[0]]


def classes(
    arguments: argparse.Namespace, image: np.ndarray
) -> tuple[Int[np.ndarray, "N"], Float[np.ndarray, "C D"] | None]:
    """Labels and class embeddings that fit the images; (zeros, None) where none were given."""
    if not (arguments.labels or arguments.classes):
        return np.zeros(len(image), int), None
    if not (arguments.labels and arguments.classes):
        raise UsageError("--labels and --classes go together: each label is a row of --classes")
    found, labels = files.load(Path(arguments.classes)), _labels(Path(arguments.labels))
    if found.shape[1] != image.shape[1] or len(found) < 2:
        raise AligngapError(
            f"{arguments.classes} has shape {found.shape}; expected [C, {image.shape[1]}], C ≥ 2"
        )
    if labels.shape != (len(image),):
        raise AligngapError(
            f"{arguments.labels} has shape {labels.shape}; expected [{len(image)}], one an image"
        )
    bad = np.flatnonzero((labels < 0) | (labels >= len(found)))
    if bad.size:
        raise AligngapError(
            f"{arguments.labels}: label {labels[bad[0]]} of image {bad[0]} is no row of "
            f"{arguments.classes} (0 to {len(found) - 1})"
        )
    return labels, found


def _labels(path: Path) -> Int[np.ndarray, "N"]:
    """Whole numbers from an .npy array or from lines of text."""
    try:
        if path.suffix == ".npy":
            labels = np.load(path, allow_pickle=False)
        else:
            labels = np.array([int(line) for line in path.read_text("utf-8").split()])
    except (OSError, ValueError, EOFError) as error:
        raise AligngapError(f"{path}: labels cannot be read ({error})") from error
    if not isinstance(labels, np.ndarray) or not np.issubdtype(labels.dtype, np.integer):
        raise AligngapError(f"{path}: expected an array of whole numbers")
    return labels.astype(int)
