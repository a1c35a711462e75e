"""Images that differ by one attribute of one thing: what arithmetic changes and bias compares."""

from collections import defaultdict
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from aligngap.data import records
from aligngap.data.eval_set import EvalSet
from aligngap.errors import UsageError
from aligngap.evaluation import labelled

PAIR = {"thing": "", "attribute": ""}  # Options: two kinds of labels; "": the corpus's variants.


class Variants(NamedTuple):
    """Images of things that the split has with at least two values of an attribute."""

    image: Int[np.ndarray, "n"]  # Rows of the split.
    thing: Int[np.ndarray, "n"]  # Numbers.
    value: Int[np.ndarray, "n"]  # Places among `values`.
    values: list[str]  # As a caption says them.


def find(data: EvalSet, thing: str, attribute: str, what: str) -> dict[str, Variants]:
    """Kind → its variants: those of two kinds of labels, or such as the corpus says.

    UsageError where there are none; `what` needs them goes into it.
    """
    if bool(thing) != bool(attribute):
        raise UsageError(f"{what}: thing and attribute, two kinds of labels, go together")
    if thing:
        labelled.kinds(data, (thing, attribute), what)
        pairs = zip(data.labels[thing], data.labels[attribute], strict=True)
        read = {attribute: [(row, *pair) for row, pair in enumerate(pairs)]}
    else:
        read = _said(data)
    found = {kind: made for kind, rows in sorted(read.items()) if (made := _made(rows))}
    if not found:
        raise UsageError(
            f"{what} needs one thing with several values of an attribute, and {data.name} of "
            f"{data.corpus.name} has none: name two kinds of labels as thing and attribute"
        )
    return found


def _said(data: EvalSet) -> dict[str, list[tuple[int, str, str]]]:
    """Kind → (row, thing, value), as the corpus says of its records."""
    read, source = defaultdict(list), records.in_order(data.source)
    for row in range(len(source)):
        for each in data.corpus.variants(source[row]):
            read[each.kind].append((row, each.thing, each.value))
    return read


def _made(rows: list[tuple[int, str, str]]) -> Variants | None:
    """Those of things with several values; None where there are none."""
    held = defaultdict(set)
    for _, thing, value in rows:
        held[thing].add(value)
    kept = [(row, thing, value) for row, thing, value in rows if len(held[thing]) > 1]
    if not kept:
        return None
    image, things, values = zip(*kept, strict=True)
    names, places = np.unique(values, return_inverse=True)
    _, numbers = np.unique(things, return_inverse=True)
    return Variants(np.array(image), numbers, places, names.tolist())
