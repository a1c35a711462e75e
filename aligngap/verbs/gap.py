"""`aligngap gap`: the gap of embeddings in files; `aligngap gap NAME`: closed, or explained."""

import argparse
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aligngap import atomic, extras, flags
from aligngap.laboratory import EXPERIMENTS, WITH_MODELS

# name: what `aligngap gap --help` says of it. The room is `verbs/gap_NAME`.
CLOSING = {
    "fit": "fit a transform that closes the gap of embeddings",
    "apply": "a transform that was fitted, applied to embeddings",
}
NAMED = CLOSING | EXPERIMENTS


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The files, and what each pair's row goes with."""
    flags.list_named(parser, "gap", "closing the gap, and experiments", NAMED)
    files = "[N, D]: FILE.npy, FILE.npz or FILE.safetensors; FILE.npz:NAME of several arrays"
    parser.add_argument("--image", required=True, metavar="FILE", help=f"image embeddings {files}")
    parser.add_argument(
        "--text", required=True, metavar="FILE", help="text embeddings, likewise; row i is the pair"
    )
    parser.add_argument(
        "--output", required=True, metavar="DIR", help="folder for gap.json and report.html"
    )
    parser.add_argument(
        "--labels",
        metavar="FILE",
        help="one for each pair: an array of whole numbers or strings, or a text file of lines",
    )
    each = "one for each pair, shown by the page's map: an array (as above) of"
    parser.add_argument(
        "--captions", metavar="FILE", help=f"{each} strings [N], or a text file of lines"
    )
    parser.add_argument(
        "--pictures",
        metavar="FILE",
        help=f"{each} uint8 [N, H, W] or [N, H, W, 1, 3 or 4], or a text file of image files' "
        "names, a line each, relative to its folder",
    )
    parser.add_argument(
        "--exact_pairs",
        type=flags.positive,
        default=20_000,
        metavar="N",
        help="up to N pairs (20000) quadratic measures take all; beyond, a random sample of N",
    )


def run(arguments: argparse.Namespace) -> None:
    """Measures, writes gap.json and the page, prints the table."""
    from aligngap.gap import files
    from aligngap.reporting.gap_page import page

    output = Path(arguments.output)
    atomic.expect_writable(output / "gap.json")
    found = files.measure(
        arguments.image,
        arguments.text,
        output,
        arguments.labels,
        arguments.exact_pairs,
        arguments.captions,
        arguments.pictures,
    )
    page.build(found, arguments.command, output / "report.html")
    print(files.table(found))


@dataclass(frozen=True)
class Experiment:
    """`aligngap gap NAME`: the laboratory's room of that name finds, and here it is saved."""

    name: str

    def add_flags(self, parser: argparse.ArgumentParser) -> None:
        """--output, and the flags that the room says."""
        where = f"folder for {self.name}.json and {self.name}.svg"
        parser.add_argument("--output", required=True, help=where)
        self._room().add_flags(parser)

    def run(self, arguments: argparse.Namespace) -> None:
        """Saves what the experiment found, and prints its summary."""
        atomic.expect_writable(Path(arguments.output) / f"{self.name}.json")
        command = vars(arguments).pop("command")  # What is left are the experiment's settings.
        result = self._room().run(arguments)
        from aligngap.laboratory.shared.result import save

        save(result, command, Path(arguments.output))
        print(result.summary)

    def _room(self) -> Any:
        if self.name in WITH_MODELS:
            extras.need_train(f"aligngap gap {self.name}")
        return importlib.import_module(f"aligngap.laboratory.{self.name}")


def named(name: str) -> Any:
    """What `aligngap gap NAME` does."""
    if name in CLOSING:
        return importlib.import_module(f"aligngap.verbs.gap_{name}")
    return Experiment(name)
