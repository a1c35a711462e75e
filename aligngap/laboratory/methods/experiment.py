"""`aligngap gap methods`: what every transform does to mixed search, over seeds of models.

A transform is fitted on one half of the items of a split, at most half of its pairs, and judged by
the other half. Its options are chosen by two further splits, fitted on one and judged by the other.
Intervals are over seeds and items. Of the gains over mean-centring there are two: each alone, and
those that hold for all methods of a model together (`tasks.simultaneous`), however many are tried.
"""

import argparse
from typing import Any

from aligngap import flags
from aligngap.errors import UsageError
from aligngap.laboratory.methods import curves, rows
from aligngap.laboratory.methods.figure import draw, summary, table
from aligngap.laboratory.methods.rows import Model
from aligngap.laboratory.methods.standing import standings
from aligngap.laboratory.shared.labelled import add_seed, check_seed
from aligngap.laboratory.shared.result import Result


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The runs of each model, and how many items are judged."""
    parser.add_argument(
        "--model",
        required=True,
        action="append",
        metavar=rows.EXPECTED.split(" or ")[1],
        help="runs of one model and several seeds, a pattern of evaluated workdirs; the split "
        "whose items are halved; two by which options are chosen: fitted on FIT, judged by CHOOSE",
    )
    parser.add_argument(
        "--items",
        type=flags.positive,
        default=3000,
        metavar="N",
        help="most items that are judged (3000); beyond, a random sample of N",
    )
    add_seed(parser, "halves, sample, intervals")


def run(arguments: argparse.Namespace) -> Result:
    """Every method on every model."""
    check_seed(arguments)
    names = [given.partition("=")[0] for given in arguments.model]
    if len({*names}) < len(names):
        raise UsageError(f"--model: two are called {max(names, key=names.count)}")
    models = [rows.read(given, arguments.items, arguments.seed) for given in arguments.model]
    found = {model.name: _record(model, arguments.seed) for model in models}
    settings = vars(arguments)
    files = {"methods.md": table(found).encode()}
    return Result("methods", settings, found, draw(found), summary(found), files)


def _record(model: Model, seed: int) -> dict[str, Any]:
    """What methods.json holds of a model."""
    reached, left_out = curves.of_model(model, seed)
    found, critical = standings(reached, seed)
    first = model.seeds[0].judged
    return {
        "runs": [str(each.folder) for each in model.seeds],
        "dimension": first.given.image.shape[1],
        "pairs_fitted": len(first.given.fitted),
        "items_judged": len(first.judge.item),
        "comparisons": len(found) - 1,  # With mean-centring, of all others.
        "errors_to_each_end": critical,  # Of over_mean_together.
        "methods": {
            way.name: {
                "options": dict(reached[way].options),
                "chosen_by": reached[way].chosen_by,
                **standing.as_json(),
            }
            for way, standing in found.items()
        },
        "left_out": left_out,
    }
