"""`aligngap embed`: embeddings of images and texts that a user has."""

import argparse
from pathlib import Path

from aligngap import flags
from aligngap.errors import UsageError
from aligngap.verbs import processes


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which model, of what, and in which form."""
    parser.add_argument(
        "--workdir",
        required=True,
        help="of a run or an import, or an exported model's folder, or the name of a model that "
        "comes with aligngap",
    )
    flags.add_step(parser)
    named = "*.tar shards, *.jsonl or *.parquet of documents, or CORPUS/SPLIT"
    parser.add_argument(
        "--images", help=f"folder, file, 'glob', LIST.txt (a path a line), {named}", metavar="NAME"
    )
    parser.add_argument("--texts", help=f"UTF-8 file of a text a line, {named}", metavar="NAME")
    parser.add_argument(
        "--output", required=True, metavar="DIR", help="folder for image.npy, text.npy and ids"
    )
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32")
    parser.add_argument("--format", choices=("npy", "safetensors"), default="npy")
    parser.add_argument(
        "--skip_corrupt", action="store_true", help="leave out images that cannot be decoded"
    )
    parser.add_argument("--data_dir", default="", help="of CORPUS/SPLIT; default: as in training")
    processes.add_flags(parser)


def run(arguments: argparse.Namespace) -> None:
    """Prints how many rows it wrote."""
    if not (arguments.images or arguments.texts):
        raise UsageError("embed needs --images=NAME, --texts=NAME or both")
    processes.start(arguments)
    import jax

    from aligngap.evaluation import embed

    request = embed.EmbedRequest(
        Path(arguments.workdir),
        arguments.step,
        arguments.images,
        arguments.texts,
        arguments.data_dir,
        arguments.skip_corrupt,
    )
    said = embed.embed(request, Path(arguments.output), arguments.dtype, arguments.format)
    if jax.process_index() == 0:
        print(said)
