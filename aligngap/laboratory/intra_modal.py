"""`aligngap gap intra_modal`: image-to-image and text-to-text retrieval by class.

mAP and recall at k of each row among all others of its modality.
"""

import argparse

from aligngap.gap import copies, files, sources
from aligngap.intervals import as_json
from aligngap.laboratory.shared import labelled, points
from aligngap.laboratory.shared.embeddings import FILES
from aligngap.laboratory.shared.result import Result
from aligngap.tasks import intra_modal


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The files of one modality, or of both."""
    parser.add_argument("--image", required=True, help=f"image embeddings [N, D]: {FILES}")
    labelled.add_labels(parser, "each image")
    parser.add_argument("--text", help="text embeddings [M, D], to be retrieved by themselves")
    parser.add_argument("--text_labels", help="class of each text; without: those of the images")
    labelled.add_seed(parser, "intervals")


def run(arguments: argparse.Namespace) -> Result:
    """Each modality by itself; of equal rows one is left, or they would be each other's nearest."""
    labelled.check_seed(arguments)
    given = {"image": (arguments.image, arguments.labels)}
    if arguments.text:
        given["text"] = arguments.text, arguments.text_labels or arguments.labels
    found, sizes, copied = {}, {}, {}
    for side, (path, labels) in given.items():
        rows = files.load(path)
        _, classes = sources.labels(labels, len(rows), "rows")
        once = labelled.once(rows, classes)
        clusters = copies.among(once.features)
        for name, value in intra_modal.evaluate(*once, clusters, arguments.seed).items():
            found[f"{side}/{name}"] = value
        sizes[f"{side}s"], copied[side] = len(rows), len(rows) - len(once.labels)
    figure = points.draw(found, "value, 95 % interval (tick: chance)", "Retrieval by class")
    settings = vars(arguments) | sizes | {"copies": copied}
    return Result("intra_modal", settings, as_json(found), figure, points.lines(found, copied))
