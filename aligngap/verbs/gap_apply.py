"""`aligngap gap apply`: embeddings in a file through a transform that was fitted."""

import argparse
from pathlib import Path

from aligngap import flags, modalities


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The transform, and the rows of one modality."""
    parser.add_argument("--transform", required=True, metavar="DIR", help="of `aligngap gap fit`")
    rows = parser.add_mutually_exclusive_group(required=True)
    files = "[N, D]: FILE.npy, FILE.npz:NAME or FILE.safetensors"
    rows.add_argument("--image", metavar="FILE", help=f"images {files}")
    rows.add_argument("--text", metavar="FILE", help="text documents, likewise")
    rows.add_argument("--query", metavar="FILE", help="queries, likewise")
    rows.add_argument(
        "--modality",
        type=flags.named_file,
        metavar="NAME:FILE",
        help="a further modality that the transform was fitted on, likewise",
    )
    parser.add_argument(
        "--output", required=True, metavar="FILE.npy", help="L2-normalised float32 rows"
    )


def run(arguments: argparse.Namespace) -> None:
    """Writes the file, whole or not at all."""
    from aligngap.gap.transforms import GapTransform, files

    transform = GapTransform.load(arguments.transform)
    own = [(name, getattr(arguments, name)) for name in modalities.OWN]
    modality, file = arguments.modality or next(each for each in own if each[1] is not None)
    shape = files.write(transform, modality, file, Path(arguments.output))
    print(f"{arguments.output}: {shape[0]:,} {modality} rows of {shape[1]}, {transform.method}")
