"""`aligngap gap text_similarity`: Spearman's correlation of cosines with people's scores."""

import argparse

import numpy as np
from matplotlib.figure import Figure

from aligngap.gap import sources
from aligngap.intervals import as_json
from aligngap.laboratory.shared import labelled
from aligngap.laboratory.shared.embeddings import FILES, read_pairs
from aligngap.laboratory.shared.points import lines
from aligngap.laboratory.shared.result import Result, style
from aligngap.reporting.figures import run_colour
from aligngap.tasks import text_similarity
from aligngap.unit import unit_rows_numpy


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The files."""
    parser.add_argument("--first", required=True, help=f"embeddings of sentences [N, D]: {FILES}")
    parser.add_argument("--second", required=True, help="of what each is compared with [N, D]")
    scores = "a text file, a number a line, or a table of score<TAB>sentence<TAB>sentence"
    parser.add_argument("--scores", required=True, help=f"how alike they are: {scores}")
    labelled.add_seed(parser, "the interval")


def run(arguments: argparse.Namespace) -> Result:
    """The correlation, and a picture of the pairs."""
    labelled.check_seed(arguments)
    first, second = read_pairs(arguments.first, arguments.second)
    column = [line.partition("\t")[0] for line in sources.lines(arguments.scores, "scores")]
    sources.expect_each(arguments.scores, "scores", len(column), len(first))
    scores = sources.numbers(arguments.scores, column)
    found = {"spearman": text_similarity.evaluate(first, second, scores, arguments.seed)}
    settings = vars(arguments) | {"pairs": len(first), "dimension": first.shape[1]}
    figure = _draw(np.sum(unit_rows_numpy(first) * unit_rows_numpy(second), axis=1), scores)
    return Result("text_similarity", settings, as_json(found), figure, lines(found))


def _draw(cosines: np.ndarray, scores: np.ndarray) -> Figure:
    with style():
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        axes.plot(scores, cosines, "o", ms=3, mew=0, alpha=0.5, color=run_colour(0))
        axes.set(xlabel="score", ylabel="cosine")
        axes.set_title(f"{len(scores):,} pairs of sentences", fontsize=9, loc="left")
    return figure
