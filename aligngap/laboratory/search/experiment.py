"""`aligngap gap search`: a pool in which each item stands once, as image with probability p, else
as text. The task is GR-CLIP's and MixBench's; `aligngap.tasks.search` says how it is measured.
"""

import argparse
from typing import Any

from aligngap import flags
from aligngap.errors import UsageError
from aligngap.gap import GapTransform, copies
from aligngap.laboratory.search import pool
from aligngap.laboratory.search.figure import draw, summary
from aligngap.laboratory.shared.embeddings import FILES
from aligngap.laboratory.shared.result import Result
from aligngap.tasks import search


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The files, what is right, and how many queries."""
    parser.add_argument("--image", required=True, help=f"items as images [N, D]: {FILES}")
    parser.add_argument("--text", required=True, help="items as texts [N, D], likewise")
    parser.add_argument("--query", required=True, help="queries [N, D]; row i asks for item i")
    parser.add_argument(
        "--qrels",
        default="",
        metavar="FILE.tsv",
        help="query_id, corpus_id, score between tabs: what is right, of queries and items in "
        "other numbers; ids are those of NAME_ids.txt beside NAME.npy, else rows from 0 on",
    )
    parser.add_argument(
        "--queries",
        type=flags.positive,
        default=10_000,
        metavar="N",
        help="most queries (10000); beyond, a random sample of N",
    )
    parser.add_argument(
        "--transform",
        default="",
        metavar="DIR",
        help="of `aligngap gap fit`: all three files go through it first",
    )
    parser.add_argument("--seed", type=int, default=0, help="of sample and intervals (0)")


def run(arguments: argparse.Namespace) -> Result:
    """Every measure against the share of images, and of fused documents."""
    if arguments.seed < 0:
        raise UsageError(f"--seed={arguments.seed}: expected at least 0")
    transform = GapTransform.load(arguments.transform) if arguments.transform else None
    searched = pool.read(arguments, transform)
    measured = search.evaluate(
        searched.chunks,
        searched.queries,
        searched.right,
        arguments.seed,
        searched.shown,
        searched.clusters,
    )
    found: dict[str, Any] = {"fused": {}}
    for name, values in measured.values.items():
        fused, at = name.startswith("fused/"), "image_share"
        above = found["fused"] if fused else found
        above[name.removeprefix("fused/")] = [
            {"text_weight" if fused else at: place, **value.as_json()}
            for place, value in values.items()
        ]
    sizes = {"items": measured.items, "queries": measured.queries}
    settings = vars(arguments) | {"queries_given": searched.given}
    return Result(
        "search",
        settings,
        {
            **sizes,
            "copies": dict(searched.copies),
            "transform": transform and transform.about(),
            **found,
        },
        draw(found),
        summary(
            found,
            sizes,
            searched.given,
            transform.method if transform else "",
            copies.said(searched.copies),
        ),
        at_top=True,
    )
