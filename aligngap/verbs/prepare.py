"""`aligngap prepare`: a corpus of ours or of your files, its captions' semantics, a tokenizer."""

import argparse
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from aligngap.errors import AligngapError, UsageError
from aligngap.flags import positive

if TYPE_CHECKING:
    from aligngap.data.sources.prepare import Request


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What, and where."""
    parser.add_argument(
        "--corpus",
        help="which, or several with commas; default: the default config's, if all else is unnamed",
    )
    parser.add_argument("--tokenizer", help="clip: the 49,408 tokens of CLIP's vocabulary")
    parser.add_argument(
        "--semantics",
        metavar="minilm|FOLDER",
        help="embed each caption to train on, for the separation loss: with all-MiniLM-L6-v2, or "
        "a folder of a sentence-transformers model",
    )
    parser.add_argument("--data_dir", default="", help="where; default ~/tensorflow_datasets")
    parser.add_argument("--list", action="store_true", help="list sources and their licences")
    _add_files(parser.add_argument_group("a corpus of your own files (nothing is copied)"))
    _add_columns(parser.add_argument_group("what is what in them; default: by the usual names"))
    _add_rules(parser.add_argument_group("what is left out"))


def _add_files(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--source",
        metavar="PATH_OR_GLOB",
        help="tar shards, parquet, CSV/TSV/JSONL, COCO's or Karpathy's JSON, a folder of images "
        "with a .txt beside each, a saved Hugging Face dataset",
    )
    group.add_argument("--name", help="what data.corpus is to call it")
    group.add_argument("--validation", metavar="PATH_OR_GLOB", help="files to choose by")
    group.add_argument("--test", metavar="PATH_OR_GLOB", help="files to test on")
    group.add_argument("--test_share", type=_share, help="of images; default .05 or 10,000")
    group.add_argument("--validation_share", type=_share, help="the same")
    group.add_argument(
        "--split_by",
        choices=("image", "caption"),
        default="image",
        help="records that share one stand in the same split",
    )
    group.add_argument("--images", default="", help="folder that paths in a table are relative to")
    group.add_argument(
        "--convert",
        action="store_true",
        help="copy the records into TFDS's array_record, for fast reading at random",
    )
    group.add_argument(
        "--resize", type=positive, default=0, help="with --convert: pixels of the shorter side"
    )
    group.add_argument("--workers", type=positive, default=os.cpu_count(), help="processes")
    group.add_argument(
        "--beam_pipeline_options",
        metavar="runner=NAME,...",
        help="with --convert: on the machines of an Apache Beam runner, as `tfds build` takes them",
    )


def _add_columns(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--image_column", default="", metavar="NAME")
    group.add_argument("--caption_column", nargs="+", default=[], metavar="NAME")
    group.add_argument("--keyword_column", default="", metavar="NAME")
    group.add_argument(
        "--label", nargs="+", default=[], metavar="NAME", help="columns whose values are classes"
    )
    group.add_argument(
        "--caption_a_line", action="store_true", help="each line of a text is a caption of its own"
    )


def _add_rules(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--check",
        choices=("decode", "header"),
        default="decode",
        help="of images: all, or only the size, which is faster",
    )
    group.add_argument("--min_side", type=positive, default=0, help="pixels")
    group.add_argument("--max_aspect", type=_aspect, default=0.0, help="longer side by shorter")
    group.add_argument("--min_caption", type=positive, default=0, help="characters")
    group.add_argument("--max_caption", type=positive, default=0, help="characters")
    group.add_argument("--drop_duplicate_captions", action="store_true", help="all but the first")


def run(arguments: argparse.Namespace) -> None:
    """Prepares whatever is named; with --list nothing is fetched."""
    if arguments.list and (arguments.source or arguments.name):
        raise UsageError(
            "--list is of what --corpus and --tokenizer fetch; --source and --name fetch nothing"
        )
    if arguments.beam_pipeline_options is not None:
        _by_beam(arguments)
        return
    from aligngap.config import data_dir, default
    from aligngap.data import corpora, semantics, tokenizers

    folder, corpus, tokenizer = data_dir(arguments.data_dir), arguments.corpus, arguments.tokenizer
    if not (corpus or tokenizer or arguments.source or arguments.name):
        corpus = default().data.corpus
    # Found before anything is fetched: a name that is wrong costs no time.
    ours = [corpora.find(name.strip(), folder) for name in corpus.split(",")] if corpus else []
    if arguments.list:
        entries = [entry for each in ours for entry in each.licences()]
        for entry in [*entries, *(tokenizers.fetched(tokenizer).licences if tokenizer else [])]:
            print(f"{entry.source:<28} {entry.version:<8} {entry.licence:<14} {entry.package}")
            print(f"{'':<28} {entry.provides}")
        return
    if arguments.source or arguments.name:
        _of_files(arguments)
    if tokenizer:
        tokenizers.fetched(tokenizer).prepare(folder)
    for each in ours:
        each.prepare()
    if arguments.semantics and not (ours or arguments.name):
        raise UsageError("--semantics are of a corpus's captions: name one with --corpus")
    if arguments.semantics:
        for each in ours or [corpora.find(arguments.name, folder)]:
            semantics.prepare(each, arguments.semantics)


def _of_files(arguments: argparse.Namespace) -> None:
    """The corpus, and the page that shows it."""
    from aligngap.config import data_dir
    from aligngap.data.sources.machines import ThisMachine
    from aligngap.data.sources.prepare import prepare

    machines = ThisMachine(arguments.workers)
    _show(prepare(_request(arguments), data_dir(arguments.data_dir), machines))


def _by_beam(arguments: argparse.Namespace) -> None:
    """The same by other machines; of a corpus in an object store there is no page yet."""
    from aligngap.addresses import is_remote
    from aligngap.config import data_dir

    if not arguments.convert:
        raise UsageError("--beam_pipeline_options say who copies records: they go with --convert")
    if also := [x for x in ("corpus", "tokenizer", "semantics") if getattr(arguments, x)]:
        raise UsageError(f"--beam_pipeline_options: give --{also[0]} in a command of its own")
    request = _request(arguments)
    try:
        from aligngap.data.sources import beam
    except ImportError as error:
        raise AligngapError(
            f"--beam_pipeline_options need Apache Beam ({error}): pip install 'aligngap[beam]'"
        ) from error
    remote = is_remote(arguments.data_dir)
    where = arguments.data_dir if remote else str(data_dir(arguments.data_dir))
    folder = beam.prepare_by_beam(request, where, arguments.beam_pipeline_options)
    if remote:
        _say(folder, f"{folder} holds it; copied to a data_dir here, data.corpus={folder.name}")
    else:
        _show(folder)


def _show(folder: Path) -> None:
    from aligngap.reporting.corpus_page import page

    page.write(folder)
    _say(folder, f"{folder / page.PAGE} shows it; to train on it: {page.flags(folder)}")


def _say(folder: Path, last: str) -> None:
    from aligngap.reporting.corpus_page import page

    for line in page.summary(folder):
        print(line)
    print(last)


def _request(arguments: argparse.Namespace) -> "Request":
    from aligngap.data import corpora
    from aligngap.data.sources.prepare import Request
    from aligngap.data.sources.raw import Columns, Rules
    from aligngap.data.sources.splitting import Splitting

    if not (arguments.source and arguments.name):
        raise UsageError("--source and --name go together: the files, and what to call the corpus")
    if arguments.resize and not arguments.convert:
        raise UsageError("--resize copies images: it goes with --convert")
    if arguments.resize and arguments.check == "header":
        raise UsageError("--resize decodes every image: it goes with --check=decode")
    corpora.check_free(arguments.name)
    if (arguments.test_share or 0) + (arguments.validation_share or 0) >= 1:
        raise UsageError("--test_share and --validation_share leave nothing to train on")
    given = {"": arguments.source, "validation": arguments.validation, "test": arguments.test}
    return Request(
        name=arguments.name,
        sources={role: path for role, path in given.items() if path},
        columns=Columns(
            image=arguments.image_column,
            captions=tuple(arguments.caption_column),
            keywords=arguments.keyword_column,
            labels=tuple(arguments.label),
            caption_a_line=arguments.caption_a_line,
        ),
        rules=Rules(
            check=arguments.check,
            min_side=arguments.min_side,
            max_aspect=arguments.max_aspect,
            min_caption=arguments.min_caption,
            max_caption=arguments.max_caption,
        ),
        splitting=Splitting(
            test_share=0.0 if arguments.test else arguments.test_share,
            validation_share=0.0 if arguments.validation else arguments.validation_share,
            by=arguments.split_by,
            drop_duplicate_captions=arguments.drop_duplicate_captions,
        ),
        images=arguments.images,
        convert=arguments.convert,
        resize=arguments.resize,
    )


def _share(text: str) -> float:
    if not 0 <= (share := _number(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share in [0, 1)")
    return share


def _aspect(text: str) -> float:
    if not 1 <= (aspect := _number(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of at least 1")
    return aspect


def _number(text: str) -> float:
    """NaN, which is in no range, where the text is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
