"""`aligngap gap probe`: linear and few-shot probes of embeddings in files.

λ of L2 is chosen on a fifth of the rows to train on, or AlignCLIP's protocol is followed.
"""

import argparse

import numpy as np

from aligngap.errors import AligngapError, UsageError
from aligngap.gap import copies, files, sources
from aligngap.intervals import as_json
from aligngap.laboratory.shared import labelled, points
from aligngap.laboratory.shared.embeddings import FILES
from aligngap.laboratory.shared.result import Result
from aligngap.tasks import probe
from aligngap.tasks.labelled import Rows


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The rows to learn from, those to test on, and the protocol."""
    parser.add_argument("--image", required=True, help=f"embeddings [N, D]: {FILES}")
    labelled.add_labels(parser, "each row")
    parser.add_argument("--test_image", help="embeddings to test on; without: a fifth of --image")
    parser.add_argument("--test_labels", help="their classes")
    how = "l2: λ chosen on validation; adamw: AlignCLIP's (l2)"
    parser.add_argument("--protocol", choices=("l2", "adamw"), default="l2", help=how)
    few = "few-shot too: rows a class to train on, such as 1 4 16"
    parser.add_argument("--shots", type=int, nargs="+", default=[], help=few)
    parser.add_argument("--draws", type=int, default=5, help="of the shots, a seed each (5)")
    labelled.add_seed(parser, "parts, training and intervals")


def run(arguments: argparse.Namespace) -> Result:
    """lp_acc1, lp_acc5 and lp_mean_per_class_recall; equal rows are one."""
    labelled.check_seed(arguments)
    if min(arguments.shots, default=1) < 1 or arguments.draws < 1:
        raise UsageError("--shots and --draws are at least 1")
    parts, copied = _parts(arguments)
    train, validation, test = (parts[name] for name in ("train", "validation", "test"))
    if arguments.protocol == "adamw":
        classifier = probe.fit_by_adamw(train, arguments.seed)
    else:
        classifier = probe.choose(train, validation)
    same = copies.among(test.features)
    found = probe.evaluate(classifier, test, same, arguments.seed)
    for shots in arguments.shots:
        few = probe.few_shot(train, validation, test, shots, range(arguments.draws))
        found |= {f"few_shot_{shots}/{name}": value for name, value in few.items()}
    sizes = {f"{name}_rows": len(rows.labels) for name, rows in parts.items()}
    settings = vars(arguments) | sizes | {"classes": len(classifier.classes), "copies": copied}
    settings |= {"l2": classifier.l2} if classifier.l2 else {}
    figure = points.draw(found, "share of the test rows (tick: chance)", "Linear probe")
    return Result("probe", settings, as_json(found), figure, points.lines(found, copied))


def _parts(arguments: argparse.Namespace) -> tuple[dict[str, Rows], dict[str, int]]:
    """(rows to train on, to choose by and to test on; how many were copies of others)."""
    if bool(arguments.test_image) != bool(arguments.test_labels):
        raise UsageError("--test_image and --test_labels go together")
    rows = files.load(arguments.image)
    names, classes = sources.labels(arguments.labels, len(rows), "rows")
    given = labelled.once(rows, classes)
    copied = {"image": len(rows) - len(given.labels)}
    same = copies.among(given.features)
    rows_of = labelled.parted(same, arguments.seed, not arguments.test_image)
    parts = {name: given.take(chosen) for name, chosen in rows_of.items()}
    if arguments.test_image:
        test = files.load(arguments.test_image)
        if test.shape[1] != rows.shape[1]:
            raise AligngapError(
                f"{arguments.test_image} has {test.shape[1]} dimensions, {arguments.image} has "
                f"{rows.shape[1]}"
            )
        others, index = sources.labels(arguments.test_labels, len(test), "rows")
        place = {
            name: number for number, name in enumerate([*names, *sorted({*others} - {*names})])
        }
        parts["test"] = labelled.once(test, np.array([place[name] for name in others])[index])
        copied["test_image"] = len(test) - len(parts["test"].labels)
    return parts, copied
