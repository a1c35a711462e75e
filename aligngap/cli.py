"""The one command `aligngap`: each verb calls the rooms that do the work."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from aligngap.errors import AligngapError, UsageError
from aligngap.laboratory import EXPERIMENTS


class _Parser(argparse.ArgumentParser):
    """argparse, with its errors in this program's one line."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(f"{message}; see `{self.prog} --help`")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; exit code 0 done, 1 failure, 2 wrong usage or config."""
    # Information about what the backend did not find is of no use to a user.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["gap"] and given[1:2] and given[1] in EXPERIMENTS:
            _experiment(given)
            return 0
        parsed, rest = _parser().parse_known_args(given)
        if rest and parsed.verb != "train":
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

    prepare = _verb(verbs, "prepare", _prepare, "fetch and build a corpus")
    prepare.add_argument("--corpus", default="pictograms", help="which corpus (pictograms)")
    prepare.add_argument("--data_dir", default="", help="where; default ~/tensorflow_datasets")
    prepare.add_argument("--list", action="store_true", help="list the corpus's sources, licences")

    train = _verb(verbs, "train", _train, "train a model, or continue its run")
    train.add_argument("--config", required=True, help="FILE[:preset]; then --config.key=value ...")
    train.add_argument("--workdir", help="the run's folder (needed unless --dry_run)")
    train.add_argument("--dry_run", action="store_true", help="lower the step, print its costs")

    evaluate = _verb(verbs, "evaluate", _evaluate, "retrieval, zero-shot and gap of a run")
    evaluate.add_argument("--workdir", required=True, help="the run's folder")
    evaluate.add_argument("--data_dir", default="", help="of the corpus; default: as in training")
    evaluate.add_argument("--step", type=int, help="of a kept checkpoint; default: the newest")

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
        help="one for each pair: .npy of whole numbers or strings, or a text file of lines",
    )
    gap.add_argument(
        "--exact_pairs",
        type=_positive,
        default=20_000,
        metavar="N",
        help="up to N pairs (20000) quadratic measures take all; beyond, a random sample of N",
    )

    report = _verb(verbs, "report", _report, "one page about one or several runs")
    report.add_argument("--workdir", required=True, action="append", help="a run; may be repeated")
    report.add_argument("--output", required=True, help="the HTML file")

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
    from aligngap.data import corpora

    if arguments.list:
        for entry in corpora.licences(arguments.corpus):
            print(f"{entry.source:<28} {entry.version:<8} {entry.licence:<14} {entry.package}")
            print(f"{'':<28} {entry.provides}")
    else:
        corpora.prepare(arguments.corpus, data_dir(arguments.data_dir))


def _train(arguments: argparse.Namespace) -> None:
    from aligngap import config as configs

    config = configs.load(arguments.config, arguments.overrides)
    if arguments.dry_run:
        from aligngap.training import dry_run

        print(dry_run.describe(config))
        return
    if not arguments.workdir:
        raise UsageError("train needs --workdir=DIR (or --dry_run)")
    from aligngap.evaluation.run import validation
    from aligngap.training import loop, provenance

    run = loop.prepare(config, Path(arguments.workdir))
    provenance.record(run.workdir, arguments.command)
    loop.train(run, {"validation": validation(run)})


def _evaluate(arguments: argparse.Namespace) -> None:
    from aligngap.evaluation import run

    print(run.evaluate(Path(arguments.workdir), arguments.step, arguments.data_dir))


def _gap(arguments: argparse.Namespace) -> None:
    from aligngap.gap import files
    from aligngap.reporting import gap_page

    output = Path(arguments.output)
    labels = Path(arguments.labels) if arguments.labels else None
    found = files.measure(arguments.image, arguments.text, output, labels, arguments.exact_pairs)
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
    from aligngap.laboratory import experiment

    result = room.run(arguments)
    experiment.save(result, given, Path(arguments.output))
    print(result.summary)


def _report(arguments: argparse.Namespace) -> None:
    from aligngap.reporting import report

    report.build([Path(workdir) for workdir in arguments.workdir], Path(arguments.output))
    print(arguments.output)


def _bench(arguments: argparse.Namespace) -> None:
    from aligngap.benchmarks import loss

    for line in loss.table(arguments.preset, arguments.batch, arguments.tile, arguments.dtype):
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
