"""Embeddings with a class each, parted into rows to train on, to choose by and to test on."""

import argparse

import numpy as np
from jaxtyping import Float, Int

from aligngap.errors import AligngapError, UsageError

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


def copies(rows: Float[np.ndarray, "N D"]) -> Int[np.ndarray, "N"]:
    """A number a row, the same for equal rows."""
    found: np.ndarray = np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
    return found


def distinct(
    rows: Float[np.ndarray, "N D"], classes: Int[np.ndarray, "N"]
) -> tuple[Int[np.ndarray, "U"], Int[np.ndarray, "N"]]:
    """(the first of all rows of one class that are equal, the place among those of each row's own).

    Equal rows of two classes stay: which of them is right nobody has said."""
    both = np.stack([copies(rows), classes], axis=1)
    _, first, own = np.unique(both, axis=0, return_index=True, return_inverse=True)
    kept = np.sort(first)
    return kept, np.searchsorted(kept, first[own.reshape(-1)])


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
