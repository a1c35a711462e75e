"""`aligngap gap fit`: a transform that closes the gap, fitted on embeddings in files."""

import argparse
from pathlib import Path

from aligngap import flags, transform_flags

METHODS = (
    "mean, standardise, whiten, coral, realign, principal, text_principal, procrustes and ridge "
    "(row i of both a pair), spectral, transport; all but spectral take further modalities"
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The files, the method, its options."""
    files = "[N, D]: FILE.npy, FILE.npz:NAME or FILE.safetensors"
    parser.add_argument("--image", required=True, metavar="FILE", help=f"images {files}")
    parser.add_argument("--text", required=True, metavar="FILE", help="texts [M, D], likewise")
    parser.add_argument(
        "--query", metavar="FILE", help="queries [Q, D], likewise; else they are treated as texts"
    )
    flags.add_modality(parser, "procrustes: row i of all is one item")
    parser.add_argument("--method", default="mean", help=f"{METHODS} (mean)")
    parser.add_argument("--output", required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--source", default="", help="what the rows are, in words (files' names)")
    parser.add_argument("--licence", default="", help="of the rows: it is kept with the transform")
    transform_flags.add(parser)


def run(arguments: argparse.Namespace) -> None:
    """Fits, writes OUTPUT/transform.json and transform.safetensors, says what it was fitted on."""
    from aligngap import atomic
    from aligngap.gap import GapTransform, copies

    atomic.empty(Path(arguments.output))
    transform = GapTransform.fit(
        arguments.image,
        arguments.text,
        arguments.method,
        arguments.query,
        others=flags.by_name(arguments.modality),
        source=arguments.source,
        licence=arguments.licence,
        **transform_flags.given(arguments),
    )
    transform.save(arguments.output)
    rows = ", ".join(f"{count:,} {name} rows" for name, count in transform.fitted.items())
    copied = copies.said(transform.copies)
    more = f"; {copied}: equal rows count once" if copied else ""
    print(f"{arguments.output}: {transform.method} fitted on {rows}{more}")
