"""`aligngap gap arithmetic`: image + λ · (target word − source word), as SIMAT.

A line of --changes is image<TAB>source<TAB>target<TAB>label: a row of --image from 0, two lines of
--names, and the label that the nearest other image should have.
"""

import argparse
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from aligngap.errors import AligngapError, UsageError
from aligngap.gap import copies, files, sources
from aligngap.intervals import as_json
from aligngap.laboratory.shared import labelled, points
from aligngap.laboratory.shared.embeddings import FILES, read_texts
from aligngap.laboratory.shared.result import Result
from aligngap.tasks import arithmetic
from aligngap.tasks.arithmetic import Changes


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The files, and λ."""
    parser.add_argument("--image", required=True, help=f"image embeddings [N, D]: {FILES}")
    labelled.add_labels(parser, "each image: what it shows")
    parser.add_argument("--words", required=True, help="embeddings of the words [W, D]")
    parser.add_argument("--names", required=True, help="the words, a text file of W lines")
    columns = "image<TAB>source<TAB>target<TAB>label"
    parser.add_argument("--changes", required=True, help=f"a line a change: {columns}")
    scales = list(arithmetic.SCALES)
    parser.add_argument("--scales", type=float, nargs="+", default=scales, help="values of λ")
    labelled.add_seed(parser, "intervals")


def run(arguments: argparse.Namespace) -> Result:
    """Hits at each λ; of equal images one is a candidate, or a copy would be the nearest."""
    labelled.check_seed(arguments)
    if not np.isfinite(arguments.scales).all():
        raise UsageError(f"--scales={arguments.scales}: expected finite numbers")
    image = files.load(arguments.image)
    words = read_texts(arguments.words, image.shape[1])
    names, index = sources.labels(arguments.labels, len(image), "images")
    listed = list(sources.lines(arguments.names, "words"))
    sources.expect_each(arguments.names, "words", len(listed), len(words), "embeddings of words")
    changes = _changes(arguments.changes, len(image), listed, names)
    item = copies.among(image, index)
    kept = copies.first(item)
    changes = changes._replace(image=item[changes.image])
    clusters = copies.among(image[kept])
    given = image[kept], index[kept], words, changes, clusters, arguments.seed
    by_scale = arithmetic.evaluate(*given, arguments.scales)
    found = {f"scale_{scale:g}": value for scale, value in by_scale.items()}
    copied = {"image": int((~kept).sum())}
    sizes = {
        "images": len(image),
        "copies": copied,
        "changes_made": len(changes.image),
        "dimension": image.shape[1],
    }
    figure = points.draw(
        found, "weighted share of hits (tick: chance)", "image + λ · (target − source)"
    )
    lines = points.lines(found, copied)
    return Result("arithmetic", vars(arguments) | sizes, as_json(found), figure, lines)


def _changes(path: str, images: int, words: Sequence[str], names: Sequence[str]) -> Changes:
    columns = sources.table(path, "image, source, target, label")
    rows = {str(row): row for row in range(images)}
    word, label = ({name: place for place, name in enumerate(known)} for known in (words, names))
    kinds = (("row of --image", rows), ("word", word), ("word", word), ("label", label))
    return Changes(
        *(_places(path, column, *kind) for column, kind in zip(columns, kinds, strict=True))
    )


def _places(
    path: str, column: Sequence[str], what: str, known: dict[str, int]
) -> Int[np.ndarray, "Q"]:
    for line, name in enumerate(column, 1):
        if name not in known:
            raise AligngapError(f"{path}, line {line}: {name!r} is no {what} that is given")
    return np.array([known[name] for name in column])
