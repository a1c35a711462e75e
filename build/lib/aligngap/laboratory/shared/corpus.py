"""Real pictures and captions, few enough to be held and learnt by heart."""

import argparse
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int32, UInt8

from aligngap import progress
from aligngap.config import data_dir
from aligngap.data import corpora, images, records
from aligngap.data.records import Source
from aligngap.data.tokenizers import bpe
from aligngap.errors import UsageError

CORPUS = "pictograms"
KEYWORDS, VOCABULARY = 3, 2048  # Of a caption; of the tokenizer that is trained on them.


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Where they are."""
    parser.add_argument("--data_dir", default="", help=f"of the {CORPUS}; as for prepare")


class CaptionedImages(NamedTuple):
    """Images and captions, one of each for a group: no caption is right for two images."""

    images: Float[np.ndarray, "N R R 3"]  # Normalised by their own mean and deviation.
    ids: Int32[np.ndarray, "N L"]
    vocab_size: int


def pairs(
    count: int, size: int, context_length: int, folder: str, seed: int = 0
) -> CaptionedImages:
    """`count` groups of the training split, drawn with a seed, each with one of its images."""
    source = corpora.find(CORPUS, data_dir(folder)).open("train")
    stack, captions = one_of_each(source, count, size, KEYWORDS, seed)
    learnt = bpe.train(captions, VOCABULARY)
    scaled = stack / 255.0
    scaled = (scaled - scaled.mean((0, 1, 2))) / scaled.std((0, 1, 2))
    ids = learnt.encode(captions, context_length)
    return CaptionedImages(scaled.astype(np.float32), ids, learnt.vocab_size)


def one_of_each(
    source: Source, count: int, size: int, keywords: int, seed: int = 0, how: str = "crop"
) -> tuple[UInt8[np.ndarray, "N R R 3"], list[str]]:
    """(images, captions) of `count` groups of a split, one image of each, drawn with a seed.

    `how` is what the config calls `data.resize`.
    """
    rows: dict[int, int] = {}
    for row in np.random.default_rng(seed).permutation(len(source)):
        rows.setdefault(records.group_of(source[int(row)], int(row)), int(row))
    if count > len(rows):
        raise UsageError(f"{count} groups: this split of the corpus has {len(rows)}")
    found = [source[row] for row in list(rows.values())[:count]]
    pictures = [images.RESIZES[how](images.decode(record.image), size) for record in found]
    return np.stack(pictures), [records.caption(record, keywords) for record in found]


def pixels(count: int, size: int, folder: str, seed: int = 0) -> UInt8[np.ndarray, "N R R 3"]:
    """`count` distinct training images of the corpus, drawn with a seed."""
    source = corpora.find(CORPUS, data_dir(folder)).open("train")
    if count > len(source):
        raise UsageError(f"{count} images: the {CORPUS} corpus has {len(source)} to train on")
    rows = np.sort(np.random.default_rng(seed).permutation(len(source))[:count])
    decoded = [
        images.resize(images.decode(source[int(row)].image, f"{row} of train"), size)
        for row in progress.track(rows, f"Decoding {CORPUS}", count, "images")
    ]
    return np.stack(decoded)
