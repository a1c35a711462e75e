"""The one command `aligngap`: each verb calls the rooms that do the work."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from aligngap.errors import AligngapError, UsageError
from aligngap.interop import FORMATS
from aligngap.laboratory import EXPERIMENTS


class _Parser(argparse.ArgumentParser):
    """argparse, with its errors in this program's one line."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(f"{message}; see `{self.prog} --help`")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; exit code 0 done, 1 failure, 2 wrong usage or config, 75 preempted."""
    # Information about what the backend did not find is of no use to a user.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["gap"] and given[1:2] and given[1] in EXPERIMENTS:
            _experiment(given)
            return 0
        parsed, rest = _parser().parse_known_args(given)
        if rest and parsed.verb not in ("train", "import"):
            raise UsageError(f"unknown argument {rest[0]!r}; see `aligngap {parsed.verb} --help`")
        parsed.overrides, parsed.command = rest, given
        parsed.run(parsed)
    except AligngapError as error:
        print(f"aligngap: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"aligngap: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("aligngap: interrupted; the same command goes on from the last save", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="aligngap", description="Measure, explain and close the modality gap.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    prepare = _verb(verbs, "prepare", _prepare, "fetch and build a corpus, or fetch a tokenizer")
    prepare.add_argument("--corpus", help="which corpus; default: pictograms, if no tokenizer")
    prepare.add_argument("--tokenizer", help="clip: the 49,408 tokens of CLIP's vocabulary")
    prepare.add_argument("--data_dir", default="", help="where; default ~/tensorflow_datasets")
    prepare.add_argument("--list", action="store_true", help="list sources and their licences")

    train = _verb(verbs, "train", _train, "train a model, or continue its run")
    train.add_argument("--config", required=True, help="FILE[:preset]; then --config.key=value ...")
    train.add_argument("--workdir", help="the run's folder (needed unless --dry_run)")
    train.add_argument(
        "--topology", default="", metavar="KIND-N", help="of --dry_run, e.g. v5e-256 or h100-64"
    )
    train.add_argument("--coordinator_address", metavar="HOST:PORT", help="of process 0")
    train.add_argument("--num_processes", type=_positive, metavar="N", help="of this run")
    train.add_argument("--process_id", type=int, metavar="I", help="of this process, from 0")
    train.add_argument(
        "--init_from", metavar="DIR", help="start from another workdir's model, trained or imported"
    )
    train.add_argument("--dry_run", action="store_true", help="lower the step, print its costs")

    evaluate = _verb(verbs, "evaluate", _evaluate, "retrieval, zero-shot and gap of a run")
    evaluate.add_argument("--workdir", required=True, help="the run's folder")
    evaluate.add_argument("--data_dir", default="", help="of the corpus; default: as in training")
    evaluate.add_argument("--step", type=int, help="of a kept checkpoint; default: the newest")

    embed = _verb(verbs, "embed", _embed, "embeddings of images and texts that you have")
    embed.add_argument("--workdir", required=True, help="of a run, or of an imported model")
    embed.add_argument("--step", type=int, help="of a kept checkpoint; default: the newest")
    named = "*.tar shards or CORPUS/SPLIT"
    embed.add_argument(
        "--images", help=f"folder, file, 'glob', LIST.txt (a path a line), {named}", metavar="NAME"
    )
    embed.add_argument("--texts", help=f"UTF-8 file of a text a line, {named}", metavar="NAME")
    embed.add_argument(
        "--output", required=True, metavar="DIR", help="folder for image.npy, text.npy and ids"
    )
    embed.add_argument("--dtype", choices=("float32", "float16"), default="float32")
    embed.add_argument("--format", choices=("npy", "safetensors"), default="npy")
    embed.add_argument(
        "--skip_corrupt", action="store_true", help="leave out images that cannot be decoded"
    )
    embed.add_argument("--data_dir", default="", help="of CORPUS/SPLIT; default: as in training")

    gap = _verb(verbs, "gap", _gap, "the modality gap of embeddings that you have")
    gap.formatter_class = argparse.RawDescriptionHelpFormatter
    gap.epilog = "experiments, each with a --help of its own:\n" + "\n".join(
        f"  aligngap gap {name:<12} {summary}" for name, summary in EXPERIMENTS.items()
    )
    files = "[N, D]: FILE.npy, FILE.npz or FILE.safetensors; FILE.npz:NAME of several arrays"
    gap.add_argument("--image", required=True, metavar="FILE", help=f"image embeddings {files}")
    gap.add_argument(
        "--text", required=True, metavar="FILE", help="text embeddings, likewise; row i is the pair"
    )
    gap.add_argument(
        "--output", required=True, metavar="DIR", help="folder for gap.json and report.html"
    )
    gap.add_argument(
        "--labels",
        metavar="FILE",
        help="one for each pair: an array of whole numbers or strings, or a text file of lines",
    )
    each = "one for each pair, shown by the page's map: an array (as above) of"
    gap.add_argument(
        "--captions", metavar="FILE", help=f"{each} strings [N], or a text file of lines"
    )
    gap.add_argument(
        "--pictures",
        metavar="FILE",
        help=f"{each} uint8 [N, H, W] or [N, H, W, 1, 3 or 4], or a text file of image files' "
        "names, a line each, relative to its folder",
    )
    gap.add_argument(
        "--exact_pairs",
        type=_positive,
        default=20_000,
        metavar="N",
        help="up to N pairs (20000) quadratic measures take all; beyond, a random sample of N",
    )

    imported = _verb(verbs, "import", _import, "a model trained elsewhere becomes a workdir")
    imported.add_argument(
        "--source",
        required=True,
        metavar="PATH",
        help="a folder of transformers (CLIPModel, SiglipModel) or open_clip, or a file: a state "
        "dict of open_clip or AlignCLIP (.safetensors, .pt), big_vision's two towers (.npz)",
    )
    imported.add_argument("--workdir", required=True, help="a new folder for the model")
    imported.add_argument("--data_dir", default="", help="of corpora and CLIP's tokenizer")
    imported.epilog = "--config.key=value ... says what the source does not"

    exported = _verb(verbs, "export", _export, "a model's weights for other programs")
    exported.add_argument("--workdir", required=True, help="a trained or imported model's folder")
    exported.add_argument("--format", required=True, choices=FORMATS, help="who is to read it")
    exported.add_argument("--output", required=True, metavar="DIR", help="a new folder")
    exported.add_argument("--step", type=int, help="of a kept checkpoint; default: the newest")

    report = _verb(verbs, "report", _report, "one page about one or several runs")
    report.add_argument("--workdir", required=True, action="append", help="a run; may be repeated")
    report.add_argument("--output", required=True, help="the HTML file")

    doctor = _verb(verbs, "doctor", _doctor, "what this machine and a run lack, and what to do")
    doctor.add_argument(
        "--workdir", help="a run to look into: its checkpoints are read and checked"
    )

    bench = _verb(verbs, "bench", _bench, "time, memory and arithmetic on this machine")
    bench.add_argument("what", choices=("loss",), help="loss: objectives, dense against tiled")
    bench.add_argument("--preset", nargs="+", default=["clip", "alignclip"], metavar="NAME")
    bench.add_argument("--batch", nargs="+", type=_positive, default=[256, 1024, 4096], metavar="B")
    bench.add_argument("--tile", type=_positive, default=1024, help="rows a tile")
    bench.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def _verb(
    verbs: "argparse._SubParsersAction[_Parser]",
    name: str,
    run: Callable[[argparse.Namespace], None],
    summary: str,
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    parser.set_defaults(run=run)
    return parser


# Each verb imports what it needs when it runs: `--help` and a wrong flag answer at once.


def _prepare(arguments: argparse.Namespace) -> None:
    from aligngap.config import data_dir
    from aligngap.data import corpora, vocabulary

    folder, corpus, tokenizer = data_dir(arguments.data_dir), arguments.corpus, arguments.tokenizer
    corpus = corpus or ("" if tokenizer else "pictograms")
    if arguments.list:
        entries = corpora.licences(corpus) if corpus else []
        for entry in [*entries, *(vocabulary.licences(tokenizer) if tokenizer else [])]:
            print(f"{entry.source:<28} {entry.version:<8} {entry.licence:<14} {entry.package}")
            print(f"{'':<28} {entry.provides}")
        return
    if tokenizer:
        vocabulary.prepare(tokenizer, folder)
    if corpus:
        corpora.prepare(corpus, folder)


def _train(arguments: argparse.Namespace) -> None:
    from aligngap import config as configs

    config = configs.load(arguments.config, arguments.overrides)
    config.init_from = arguments.init_from or config.init_from
    if arguments.dry_run:
        from aligngap.training import dry_run

        print(dry_run.describe(config, arguments.topology))
        return
    if not arguments.workdir:
        raise UsageError("train needs --workdir=DIR (or --dry_run)")
    from aligngap.parallel import distributed

    distributed.start(arguments.coordinator_address, arguments.num_processes, arguments.process_id)
    from aligngap.evaluation.validation import Validation
    from aligngap.runs import provenance
    from aligngap.training import loop

    run = loop.prepare(config, Path(arguments.workdir))
    provenance.record(run.workdir, arguments.command)
    loop.train(run, {"validation": Validation(run)})


def _evaluate(arguments: argparse.Namespace) -> None:
    from aligngap.evaluation import evaluate

    print(evaluate.evaluate(Path(arguments.workdir), arguments.step, arguments.data_dir))


def _embed(arguments: argparse.Namespace) -> None:
    from aligngap.evaluation import embed

    if not (arguments.images or arguments.texts):
        raise UsageError("embed needs --images=NAME, --texts=NAME or both")
    request = embed.Request(
        Path(arguments.workdir),
        arguments.step,
        arguments.images,
        arguments.texts,
        arguments.data_dir,
        arguments.skip_corrupt,
    )
    print(embed.embed(request, Path(arguments.output), arguments.dtype, arguments.format))


def _import(arguments: argparse.Namespace) -> None:
    from aligngap.interop import importing

    source, workdir = Path(arguments.source), Path(arguments.workdir)
    given, overrides = arguments.command, arguments.overrides
    print(importing.import_model(source, workdir, overrides, arguments.data_dir, given))


def _export(arguments: argparse.Namespace) -> None:
    from aligngap.interop import export

    workdir, output = Path(arguments.workdir), Path(arguments.output)
    print(export.export(workdir, arguments.format, output, arguments.step))


def _gap(arguments: argparse.Namespace) -> None:
    from aligngap.gap import files
    from aligngap.reporting import gap_page

    output = Path(arguments.output)
    found = files.measure(
        arguments.image,
        arguments.text,
        output,
        arguments.labels,
        arguments.exact_pairs,
        arguments.captions,
        arguments.pictures,
    )
    gap_page.build(found, arguments.command, output / "report.html")
    print(files.table(found))


def _experiment(given: list[str]) -> None:
    """`aligngap gap NAME ...`: the room of that name says which flags it has."""
    name = given[1]
    room = importlib.import_module(f"aligngap.laboratory.{name}")
    parser = _Parser(prog=f"aligngap gap {name}", description=EXPERIMENTS[name])
    parser.add_argument("--output", required=True, help=f"folder for {name}.json and {name}.svg")
    room.add_flags(parser)
    arguments = parser.parse_args(given[2:])
    from aligngap.laboratory.shared.result import save

    result = room.run(arguments)
    save(result, given, Path(arguments.output))
    print(result.summary)


def _report(arguments: argparse.Namespace) -> None:
    from aligngap.reporting import report

    report.build([Path(workdir) for workdir in arguments.workdir], Path(arguments.output))
    print(arguments.output)


def _doctor(arguments: argparse.Namespace) -> None:
    from aligngap import doctor

    workdir = Path(arguments.workdir) if arguments.workdir else None
    findings = list(doctor.examine(workdir))
    for finding in findings:
        print(finding.line, flush=True)
    if wrong := sum(finding.grade == "WRONG" for finding in findings):
        raise AligngapError(f"{wrong} of {len(findings)} findings are wrong, see above")


def _bench(arguments: argparse.Namespace) -> None:
    from aligngap.benchmarks import loss

    for line in loss.table(arguments.preset, arguments.batch, arguments.tile, arguments.dtype):
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
