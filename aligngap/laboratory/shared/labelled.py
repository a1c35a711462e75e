"""Embeddings with a class each, parted into rows to train on, to choose by and to test on."""

import argparse

import numpy as np
from jaxtyping import Float, Int

from aligngap.errors import AligngapError, UsageError
from aligngap.gap import copies
from aligngap.tasks.labelled import Rows

LABELS = "one each: an array of whole numbers or strings, or a text file of lines"
CHOOSE = TEST = 0.2  # Shares of the groups, where no rows to test on are given.


def add_labels(parser: argparse.ArgumentParser, of: str) -> None:
    """--labels, the class of each of what."""
    parser.add_argument("--labels", required=True, help=f"class of {of}, {LABELS}")


def add_seed(parser: argparse.ArgumentParser, of: str) -> None:
    """--seed."""
    parser.add_argument("--seed", type=int, default=0, help=f"of {of} (0)")


def check_seed(arguments: argparse.Namespace) -> None:
    """UsageError for one that is no seed."""
    if arguments.seed < 0:
        raise UsageError(f"--seed={arguments.seed}: expected at least 0")


def once(rows: Float[np.ndarray, "N D"], classes: Int[np.ndarray, "N"]) -> Rows:
    """Equal rows of a class are one, to learn from and to be tested by."""
    return Rows(rows, classes).take(copies.first(copies.among(rows, classes)))


def parted(groups: Int[np.ndarray, "N"], seed: int, test: bool) -> dict[str, Int[np.ndarray, "n"]]:
    """Rows to "train" on, for "validation" and, if asked for, to "test" on; a group stays whole."""
    names, own = np.unique(groups, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    place = np.argsort(order)[own] / len(names)
    ends = (TEST if test else 0.0), CHOOSE + (TEST if test else 0.0)
    found = {
        "train": np.flatnonzero(place >= ends[1]),
        "validation": np.flatnonzero((place < ends[1]) & (place >= ends[0])),
        "test": np.flatnonzero(place < ends[0]),
    }
    if not test:
        del found["test"]
    for name, rows in found.items():
        if not rows.size:
            raise AligngapError(f"{len(names)} distinct items leave none for {name}: give more")
    return found
