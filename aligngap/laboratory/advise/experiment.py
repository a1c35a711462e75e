"""`aligngap gap advise`: every transform fitted on one half of the pairs and judged by the other.

The gains of all transforms in all tasks have intervals that hold together (`tasks.simultaneous`):
what is advised gains beyond what trying so many would by luck.
"""

import argparse
import shlex
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from aligngap import flags
from aligngap.errors import AligngapError
from aligngap.gap import files, sources
from aligngap.intervals import CONFIDENCE
from aligngap.laboratory.advise.advice import Advice
from aligngap.laboratory.advise.candidates import CALIBRATION, Given
from aligngap.laboratory.advise.figure import draw, summary
from aligngap.laboratory.advise.judge import SEARCH, TASKS
from aligngap.laboratory.advise.weighing import Weighed, parted, weighed
from aligngap.laboratory.shared.embeddings import FILES, read_pairs
from aligngap.laboratory.shared.labelled import LABELS, add_seed, check_seed
from aligngap.laboratory.shared.result import Result
from aligngap.reporting.advice_page import page
from aligngap.reporting.advice_page.page import Picture
from aligngap.tasks.intervals import estimates
from aligngap.tasks.search import GRID


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The files, and how many pairs are judged."""
    parser.add_argument("--image", required=True, help=f"image embeddings [N, D]: {FILES}")
    parser.add_argument("--text", required=True, help="text embeddings [N, D]; row i is the pair")
    parser.add_argument(
        "--query", help="queries [N, D], row i asks for item i; else its text asks for its image"
    )
    parser.add_argument("--labels", help=f"class of each pair, {LABELS}")
    parser.add_argument(
        "--pairs",
        type=flags.positive,
        default=3000,
        metavar="N",
        help="most pairs that are judged (3000); beyond, a random sample of N",
    )
    add_seed(parser, "halves, sample, intervals")


def run(arguments: argparse.Namespace) -> Result:
    """Fits on one half, judges by the other, and says what to use."""
    check_seed(arguments)
    given, judge = parted(*_read(arguments), arguments.pairs, arguments.seed)
    found = weighed(given, judge, arguments.seed)
    record, picture = _record(found, arguments.seed), _picture(found, given)
    sizes = {
        "pairs_given": len(given.image),
        "pairs_fitted": len(given.fitted),
        "pairs_judged": len(given.judged),
        "items_judged": len(judge.item),
        "copies_judged": {
            "image": len(given.judged) - len(judge.image),
            "text": len(given.judged) - len(judge.text),
        },
        "dimension": given.image.shape[1],
    }
    settings, commands = vars(arguments) | sizes, _commands(found.advice, arguments)
    return Result(
        "advise",
        settings,
        record,
        draw(record, picture),
        summary(found, sizes, commands),
        {"report.html": page.render(settings, record, picture, commands).encode()},
    )


Rows = Float[np.ndarray, "N D"]


def _read(
    arguments: argparse.Namespace,
) -> tuple[Rows, Rows, Rows | None, Int[np.ndarray, "N"] | None]:
    """Images, texts, queries and classes."""
    image, text = read_pairs(arguments.image, arguments.text)
    query = _queries(arguments.query, image) if arguments.query else None
    classes = sources.labels(arguments.labels, len(image))[1] if arguments.labels else None
    return image, text, query, classes


def _queries(given: str, image: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    """One for each pair."""
    shape = sources.embeddings(given).shape
    if shape != image.shape:
        raise AligngapError(
            f"{given} has shape {shape} and the images {image.shape}; expected the same [N, D], "
            "row i asking for item i"
        )
    return files.load(given)


def _record(found: Weighed, seed: int) -> dict[str, Any]:
    """What advise.json holds."""
    advice = found.advice
    gains: dict[str, dict[str, Any]] = {method: {} for method in advice.methods}
    for (method, task), gain in advice.gains.items():
        gains[method][task] = gain.as_json()
    return {
        "advice": advice.sentence(),
        "use": advice.use,
        "as_good": dict(advice.best),
        "confidence": CONFIDENCE,
        "comparisons": len(advice.gains),
        "errors_to_each_end": advice.critical,
        "tasks": {
            task: {**TASKS[task]._asdict(), "before": value.as_json()}
            for task, value in advice.before.items()
        },
        "methods": {m: {**found.about[m], "gains": gains[m]} for m in advice.methods},
        "left_out": dict(found.left_out),
        "search": {
            method: _curve(curve, found.chance, seed) for method, curve in found.curves.items()
        },
    }


def _curve(
    curve: Float[np.ndarray, "I P"], chance: float | None, seed: int
) -> list[dict[str, float]]:
    """NDCG@10 at each share of images, its interval that of this point alone."""
    chances = np.full(len(GRID), chance)
    values = estimates(curve, np.arange(len(curve)), chances, seed)
    return [{"image_share": p, **value.as_json()} for p, value in zip(GRID, values, strict=True)]


def _picture(found: Weighed, given: Given) -> Picture:
    """Of the transform that is advised, for mixed search where there is one; of none, that which
    gains most there."""
    use, gains = found.advice.use, found.advice.gains
    advised = [m for m in (use[SEARCH], *use.values()) if m and m in found.fitted]
    most = max(found.fitted, key=lambda method: gains[method, SEARCH].value)
    method = advised[0] if advised else most
    before, after = given.before(), found.fitted[method].rows
    return Picture(method, bool(advised), (before.image, before.text), (after.image, after.text))


def _commands(advice: Advice, arguments: argparse.Namespace) -> list[str]:
    """What fits the transforms that are advised, on all rows."""
    given = [f"--{name}={x}" for name in ("image", "text", "query") if (x := vars(arguments)[name])]
    chosen = dict.fromkeys(m for m in advice.use.values() if m and m != CALIBRATION)
    return [
        shlex.join(["aligngap", "gap", "fit", *given, f"--method={method}", "--output=DIR"])
        for method in chosen
    ]
