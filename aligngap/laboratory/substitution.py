"""`aligngap gap substitution`: a classifier of one modality, given the other.

Three fifths of the pairs train, a fifth chooses λ (on the modality that trains), a fifth tests.
"""

import argparse

from aligngap.gap import copies, sources
from aligngap.intervals import as_json
from aligngap.laboratory.shared import labelled, points
from aligngap.laboratory.shared.embeddings import FILES, read_pairs
from aligngap.laboratory.shared.result import Result
from aligngap.tasks import substitution
from aligngap.tasks.labelled import Rows
from aligngap.tasks.substitution import Target


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The files."""
    parser.add_argument("--image", required=True, help=f"image embeddings [N, D]: {FILES}")
    parser.add_argument("--text", required=True, help="text embeddings [N, D]; row i is the pair")
    labelled.add_labels(parser, "each pair")
    labelled.add_seed(parser, "parts and intervals")


def run(arguments: argparse.Namespace) -> Result:
    """Accuracy of each modality's classifier on both; pairs that share a side stay in one part, of
    equal rows of a class one trains and one is tested."""
    labelled.check_seed(arguments)
    image, text = read_pairs(arguments.image, arguments.text)
    names, classes = sources.labels(arguments.labels, len(image))
    items = copies.of(image, text)
    same = items.group
    parts = labelled.parted(same, arguments.seed, test=True)
    sides = {"image": Rows(image, classes), "text": Rows(text, classes)}
    once = {side: copies.first(copies.among(*rows)) for side, rows in sides.items()}
    chosen = {
        part: {side: rows[kept[rows]] for side, kept in once.items()}
        for part, rows in parts.items()
    }
    train, validation, test = (
        {side: sides[side].take(rows) for side, rows in chosen[part].items()}
        for part in ("train", "validation", "test")
    )
    trained = substitution.classifiers(train, validation)
    tested = {side: Target(rows, same[chosen["test"][side]]) for side, rows in test.items()}
    found = substitution.evaluate(trained, tested, arguments.seed)
    sizes = {f"{name}_pairs": len(rows) for name, rows in parts.items()}
    settings = vars(arguments) | sizes | {"classes": len(names), "dimension": image.shape[1]}
    settings |= {"copies": items.copies}
    settings |= {f"l2_of_{side}": made.l2 for side, made in trained.items()}
    figure = points.draw(found, "share of the test rows (tick: chance)", "Trained on → tested on")
    return Result(
        "substitution", settings, as_json(found), figure, points.lines(found, items.copies)
    )
