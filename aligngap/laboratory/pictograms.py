"""Real pictures for experiments that need no captions."""

import argparse

import numpy as np
from jaxtyping import UInt8

from aligngap import progress
from aligngap.config import data_dir
from aligngap.data import corpora, images
from aligngap.errors import UsageError


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Where they are."""
    parser.add_argument("--data_dir", default="", help="of the pictograms; as for prepare")


def pixels(count: int, size: int, folder: str, seed: int = 0) -> UInt8[np.ndarray, "N R R 3"]:
    """`count` distinct training images of the pictograms corpus, drawn with a seed."""
    source = corpora.open_split("pictograms", data_dir(folder), "train")
    if count > len(source):
        raise UsageError(f"{count} images: the pictograms corpus has {len(source)} to train on")
    rows = np.sort(np.random.default_rng(seed).permutation(len(source))[:count])
    decoded = [
        images.resize(images.decode(source[int(row)]["image"], f"{row} of train"), size)
        for row in progress.track(rows, "Decoding pictograms", count, "images")
    ]
    return np.stack(decoded)
