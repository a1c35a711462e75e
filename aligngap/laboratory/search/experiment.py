"""`aligngap gap search`: a pool in which each item stands once, as image with probability p, else
as text; or in one of more modalities. The task is GR-CLIP's and MixBench's; `aligngap.tasks.search`
and `many_modalities` say how it is measured.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from aligngap import flags
from aligngap.errors import UsageError
from aligngap.gap import GapTransform, copies
from aligngap.laboratory.search import figure, many, pool
from aligngap.laboratory.search.pool import Pool
from aligngap.laboratory.shared.embeddings import FILES
from aligngap.laboratory.shared.result import Result
from aligngap.tasks import many_modalities, search
from aligngap.tasks.many_modalities import MOST
from aligngap.tasks.search import Found


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The files, what is right, and how many queries."""
    parser.add_argument("--image", required=True, help=f"items as images [N, D]: {FILES}")
    parser.add_argument("--text", required=True, help="items as texts [N, D], likewise")
    parser.add_argument("--query", required=True, help="queries [N, D]; row i asks for item i")
    flags.add_modality(parser, "items as that [N, D]")
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
        help="of `aligngap gap fit`: all files go through it first",
    )
    parser.add_argument("--seed", type=int, default=0, help="of sample and intervals (0)")


def run(arguments: argparse.Namespace) -> Result:
    """Every measure against the share of images, and of fused documents; in every mixture of more
    modalities."""
    if arguments.seed < 0:
        raise UsageError(f"--seed={arguments.seed}: expected at least 0")
    further = flags.by_name(vars(arguments).pop("modality"))
    names = ["image", "text", *further]
    if len(names) > MOST:
        raise UsageError(f"{len(names)} modalities; expected at most {MOST}")
    transform = GapTransform.load(arguments.transform) if arguments.transform else None
    searched = pool.read(arguments, transform, further)
    measured, found = (
        _of_many(searched, arguments.seed, names) if further else _of_two(searched, arguments.seed)
    )
    sizes = {"items": measured.items, "queries": measured.queries}
    settings = vars(arguments) | {"queries_given": searched.given}
    if further:
        settings["modality"] = further
    shown = many if further else figure
    return Result(
        "search",
        settings,
        {
            **sizes,
            "copies": dict(searched.copies),
            "transform": transform and transform.about(),
            **found,
        },
        shown.draw(found),
        shown.summary(
            found,
            sizes,
            searched.given,
            transform.method if transform else "",
            copies.said(searched.copies),
        ),
        at_top=True,
    )


def _of_two(searched: Pool, seed: int) -> tuple[Found, dict[str, Any]]:
    """Of images and texts, and as search.json has it."""
    measured = search.evaluate(
        searched.chunks, searched.queries, searched.right, seed, searched.shown, searched.clusters
    )
    return measured, _listed(
        measured, lambda share, fused: {"text_weight" if fused else "image_share": share}
    )


def _of_many(searched: Pool, seed: int, names: Sequence[str]) -> tuple[Found, dict[str, Any]]:
    """Likewise of more modalities."""
    measured = many_modalities.evaluate(
        searched.chunks, searched.queries, searched.right, names, seed, searched.clusters
    )
    listed = _listed(
        measured,
        lambda mixture, fused: {
            "weights" if fused else "shares": dict(zip(names, mixture, strict=True))
        },
    )
    return measured, {"modalities": list(names), **listed}


def _listed(measured: Found, at: Callable[[Any, bool], dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"fused": {}}
    for name, values in measured.values.items():
        fused = name.startswith("fused/")
        above = found["fused"] if fused else found
        above[name.removeprefix("fused/")] = [
            {**at(place, fused), **value.as_json()} for place, value in values.items()
        ]
    return found
