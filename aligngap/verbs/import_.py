"""`aligngap import`: a model trained elsewhere becomes a workdir."""

import argparse
from pathlib import Path

OVERRIDES = True


def add_flags(parser: argparse.ArgumentParser) -> None:
    """From where, and to where."""
    parser.add_argument(
        "--source",
        required=True,
        metavar="PATH",
        help="a folder of transformers (CLIPModel, SiglipModel) or open_clip, or a file: a state "
        "dict of open_clip or AlignCLIP (.safetensors, .pt), big_vision's two towers (.npz); or "
        "the name of a model that comes with aligngap",
    )
    parser.add_argument("--workdir", required=True, help="a new folder for the model")
    parser.add_argument("--data_dir", default="", help="of corpora and CLIP's tokenizer")
    parser.epilog = "--config.key=value ... says what the source does not"


def run(arguments: argparse.Namespace) -> None:
    """Prints what was imported."""
    from aligngap.interop import importing

    source, workdir = Path(arguments.source), Path(arguments.workdir)
    given, overrides = arguments.command, arguments.overrides
    print(importing.import_model(source, workdir, overrides, arguments.data_dir, given))
