"""`aligngap gap clustering`: k-means over both modalities together, and over each, against classes.

CL_gap's protocol: V-measure and NMI, beside those of the same clusters with shuffled members.
"""

import argparse

from aligngap.errors import UsageError
from aligngap.gap import sources
from aligngap.intervals import as_json
from aligngap.laboratory.shared import labelled, points
from aligngap.laboratory.shared.embeddings import FILES, read_pairs
from aligngap.laboratory.shared.result import Result
from aligngap.tasks import clustering


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The files, and how many starts."""
    parser.add_argument("--image", required=True, help=f"image embeddings [N, D]: {FILES}")
    parser.add_argument("--text", required=True, help="text embeddings [N, D]; row i is the pair")
    labelled.add_labels(parser, "each pair")
    parser.add_argument("--seeds", type=int, default=5, help="starts of k-means, 0 to N − 1 (5)")


def run(arguments: argparse.Namespace) -> Result:
    """As many clusters as there are labels; of equal rows of one label one is in the pool."""
    if arguments.seeds < 1:
        raise UsageError(f"--seeds={arguments.seeds}: expected at least 1")
    image, text = read_pairs(arguments.image, arguments.text)
    names, index = sources.labels(arguments.labels, len(image))
    once = {side: labelled.once(x, index) for side, x in (("image", image), ("text", text))}
    found = clustering.evaluate(once["image"], once["text"], range(arguments.seeds))
    copied = {side: len(index) - len(rows.labels) for side, rows in once.items()}
    sizes = {"pairs": len(image), "dimension": image.shape[1], "clusters": len(names)}
    title = f"k-means, {len(names)} clusters; mean and ends of {arguments.seeds} starts"
    figure = points.draw(found, "agreement with the classes (tick: shuffled)", title)
    settings = vars(arguments) | sizes | {"copies": copied}
    return Result("clustering", settings, as_json(found), figure, points.lines(found, copied))
