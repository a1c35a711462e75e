"""`aligngap gap object_bias`: MOAD of Schrodi et al. 2025 for embeddings with an object and an
attribute each: above 0, what shares the object lies closer together."""

import argparse

from aligngap.gap import copies, files, sources
from aligngap.intervals import Interval, as_json
from aligngap.laboratory.shared import labelled, points
from aligngap.laboratory.shared.embeddings import FILES
from aligngap.laboratory.shared.result import Result
from aligngap.tasks import object_bias


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The files."""
    parser.add_argument("--image", required=True, help=f"image embeddings [N, D]: {FILES}")
    parser.add_argument("--text", help="text embeddings [N, D] of the same, measured likewise")
    for name in ("objects", "attributes"):
        parser.add_argument(f"--{name}", required=True, help=f"of each row, {labelled.LABELS}")
    labelled.add_seed(parser, "intervals")


def run(arguments: argparse.Namespace) -> Result:
    """Each modality by itself; rows count as independent, equal ones of one object and attribute
    once."""
    labelled.check_seed(arguments)
    given = {"image": arguments.image} | ({"text": arguments.text} if arguments.text else {})
    found: dict[str, Interval] = {}
    copied = {}
    for side, path in given.items():
        rows = files.load(path)
        _, objects = sources.labels(arguments.objects, len(rows), "rows")
        _, attributes = sources.labels(arguments.attributes, len(rows), "rows")
        once = copies.first(copies.among(rows, objects, attributes))
        given_rows = rows[once], objects[once], attributes[once], copies.among(rows[once])
        values = object_bias.moad(*given_rows, arguments.seed)
        copied[side] = int((~once).sum())
        found |= {f"{side}/{name}": value for name, value in values.items()}
    title = "Object bias: moad = object − attribute"
    figure = points.draw(found, "difference of mean cosines, 95 % interval", title)
    settings = vars(arguments) | {"rows": len(rows), "dimension": rows.shape[1], "copies": copied}
    return Result("object_bias", settings, as_json(found), figure, points.lines(found, copied))
