"""What a run has left in its workdir, read and checked, for the page to show."""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from aligngap import json_text
from aligngap.config import ABOUT
from aligngap.errors import AligngapError
from aligngap.intervals import Interval
from aligngap.runs import board

MOMENTS = ("initial", "trained")
FOUND = "text_retrieval_recall@10"  # Of what the headline is made, beside words.GAP.
LABEL_LENGTH = 40  # a name stands in headings, sentences and table heads
# Names as the papers write them.
PAPERS = {"clip": "CLIP", "sharedclip": "SharedCLIP", "alignclip": "AlignCLIP"}
TRAIN = "aligngap train --config=FILE --workdir={workdir}"
EVALUATE = "aligngap evaluate --workdir={workdir}"


@dataclasses.dataclass(frozen=True)
class SplitValues:
    """What evaluators found on one split: evaluator → its values by their names, "group/acc1"
    being below "group"; `before` is of the model before training."""

    title: str
    note: str
    num_images: int
    num_captions: int
    values: dict[str, dict[str, Interval]]
    before: dict[str, dict[str, Interval]]

    @property
    def gap(self) -> dict[str, Interval]:
        return self.values.get("gap", {})

    @property
    def gap_before(self) -> dict[str, Interval]:
        return self.before.get("gap", {})

    @property
    def retrieval(self) -> dict[str, Interval]:
        return self.values.get("retrieval", {})

    @property
    def search(self) -> dict[str, Interval]:
        return self.values.get("search", {})


@dataclasses.dataclass(frozen=True)
class Cloud:
    """L2-normalised embeddings of one split at one moment of a run."""

    image: Float[np.ndarray, "N D"]
    text: Float[np.ndarray, "C D"]


@dataclasses.dataclass(frozen=True)
class Gallery:
    """One split's images and captions: `own` [N] indexes the captions, `rows` the images."""

    own: Int[np.ndarray, "N"]
    labels: list[str]  # [N]
    captions: list[str]
    group: Int[np.ndarray, "C"]  # Captions of one group are right for the same images.
    rows: Int[np.ndarray, "K"]
    thumbnails: UInt8[np.ndarray, "K H W 3"]


@dataclasses.dataclass(frozen=True)
class ReportedRun:
    """One workdir. `clouds[split][moment]`; `curves[metric]` is its (steps, values)."""

    workdir: Path
    label: str
    config: dict[str, Any]
    step: int
    commands: list[str]
    versions: dict[str, str]
    curves: dict[str, tuple[Float[np.ndarray, "T"], Float[np.ndarray, "T"]]]
    speed: dict[str, float]  # What a clock said in training: medians, of goodput the last.
    splits: dict[str, SplitValues]  # The one that a page leads with comes first.
    clouds: dict[str, dict[str, Cloud]]
    galleries: dict[str, Gallery]


def read(workdirs: Sequence[Path]) -> list[ReportedRun]:
    """The runs with labels made distinct; AligngapError where their test sets differ."""
    if not workdirs:
        raise AligngapError("no workdir was given: there is nothing to report")
    runs = [_read_run(Path(workdir)) for workdir in workdirs]
    for run in runs[1:]:
        _check_same_tests(runs[0], run)
    labels = _distinct_labels(runs)
    return [dataclasses.replace(run, label=name) for run, name in zip(runs, labels, strict=True)]


def _read_run(workdir: Path) -> ReportedRun:
    with reading(workdir / "config.json", TRAIN) as path:
        config = dict(json_text.value(path.read_text("utf-8")))
    with reading(workdir / "evaluation.json", EVALUATE) as path:
        evaluation = json_text.value(path.read_text("utf-8"))
        splits = splits_of(evaluation)
        found: dict[str, Any] = {
            "step": int(evaluation["step"]),
            "commands": [str(command) for command in evaluation["commands"]],
            "versions": {str(k): str(v) for k, v in evaluation["versions"].items()},
        }
    curves: dict[str, Any] = {}
    if found["step"]:  # At step 0 it came trained.
        with reading(workdir / "metrics.jsonl", TRAIN) as path:
            curves = _curves(_records(path.read_text("utf-8", errors="replace")))
    with reading(workdir / "embeddings.npz", EVALUATE) as path, np.load(path) as arrays:
        check_step(path, arrays["step"], found["step"])
        clouds = {name: _clouds(arrays, name) for name in splits}
        galleries = {name: _gallery(arrays, name) for name in splits}
    name = str(config.get("name") or workdir.resolve().name)
    label = name if len(name) <= LABEL_LENGTH else name[: LABEL_LENGTH - 1] + "…"
    return ReportedRun(workdir, label, config, curves=curves, speed=_speed(workdir), splits=splits,
               clouds=clouds, galleries=galleries, **found)  # fmt: skip


def _speed(workdir: Path) -> dict[str, float]:
    """board.IMAGES, MFU and GOODPUT, as far as TensorBoard's events have them."""
    found = {}
    for name, values in board.read(workdir, board.TIMING).items():
        last = values[max(values)]
        middle = float(np.median([*values.values()]))
        found[name] = last if name == board.GOODPUT else middle
    return found


def check_step(path: Path, found: Any, step: int) -> None:
    """evaluate writes its files one by one, and may have been killed between two of them."""
    if int(found) != step:
        raise AligngapError(
            f"{path} is of step {int(found)} and evaluation.json of step {step}: "
            f"run `{EVALUATE.format(workdir=path.parent)}` again"
        )


@contextmanager
def reading(path: Path, command: str) -> Iterator[Path]:
    """Turns whatever goes wrong with a file into one line: which file, and what makes it."""
    remedy = f"run `{command.format(workdir=path.parent)}`"
    try:
        yield path
    except FileNotFoundError:
        raise AligngapError(f"{path} is missing: {remedy}") from None
    except KeyError as error:
        key = str(error.args[0]).split(" ")[0]  # NumPy adds words of its own
        raise AligngapError(f"{path} lacks {key!r}: {remedy} again") from None
    except AligngapError:
        raise
    except Exception as error:  # A damaged file fails in any of NumPy's and zipfile's ways.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise AligngapError(f"{path} cannot be read ({reason}): {remedy} again") from None


def _records(text: str) -> Iterator[dict[str, Any]]:
    """The objects of metrics.jsonl; its last line may be half-written, for a run may be killed."""
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            yield dict(json_text.value(line))
        except ValueError:
            if number < len(lines):
                raise ValueError(f"line {number} is no JSON object") from None


def _curves(records: Iterator[dict[str, Any]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """metric → (steps, values). A step that a resumed run has done again counts as it came last."""
    points: dict[str, dict[int, float]] = {}
    for record in records:
        step = int(record.pop("step"))
        for name, value in record.items():
            points.setdefault(name, {})[step] = float(value)
    return {
        name: (np.array(sorted(found), float), np.array([found[step] for step in sorted(found)]))
        for name, found in points.items()
    }


def splits_of(evaluation: dict[str, Any]) -> dict[str, SplitValues]:
    """Every split of evaluation.json, the main one first."""
    splits = dict(evaluation["splits"])
    order = sorted(splits, key=lambda name: name != evaluation["main"])
    return {name: _split(name, splits[name], evaluation["before"].get(name, {})) for name in order}


def _split(name: str, entry: dict[str, Any], before: dict[str, Any]) -> SplitValues:
    about = {field: entry[field] for field in ABOUT}
    values = {key: dict(_leaves(tree)) for key, tree in entry.items() if key not in ABOUT}
    return SplitValues(
        str(about["title"]) or name.replace("_", " ").capitalize(),
        str(about["note"]),
        int(about["num_images"]),
        int(about["num_captions"]),
        values,
        {key: dict(_leaves(tree)) for key, tree in before.items()},
    )


def _leaves(tree: dict[str, Any], above: str = "") -> Iterator[tuple[str, Interval]]:
    """Each value of an evaluator with its name; one without an interval has no ends (nan)."""
    for name, below in tree.items():
        if "value" not in below:
            yield from _leaves(below, f"{above}{name}/")
        else:
            alone = set(below) <= {"value", "chance"}
            ends = {"low": None, "high": None} if alone else {}
            yield above + name, Interval.from_json(below | ends)


def _clouds(arrays: Any, split: str) -> dict[str, Cloud]:
    """The moments that were kept: a model that came trained has no initial one."""
    kept = [moment for moment in MOMENTS if f"{split}/{moment}/image" in arrays]
    if "trained" not in kept:
        raise KeyError(f"{split}/trained/image")
    return {moment: _cloud(arrays, split, moment) for moment in kept}


def _cloud(arrays: Any, split: str, moment: str) -> Cloud:
    image, text = arrays[f"{split}/{moment}/image"], arrays[f"{split}/{moment}/text"]
    if image.ndim != 2 or text.ndim != 2 or image.shape[1] != text.shape[1] or image.shape[1] < 2:
        raise ValueError(f"{split}/{moment}: shapes {image.shape} and {text.shape} are no pair")
    if not (np.isfinite(image).all() and np.isfinite(text).all()):
        raise ValueError(f"{split}/{moment}: an embedding is not finite")
    return Cloud(image, text)


def _gallery(arrays: Any, split: str) -> Gallery:
    images, captions = (len(arrays[f"{split}/trained/{name}"]) for name in ("image", "text"))
    rows, pictures = arrays[f"{split}/gallery_rows"], arrays[f"{split}/pair_picture"]
    _check_index(rows, rows.size, min(images, len(pictures)), f"{split}/gallery_rows")
    gallery = Gallery(
        arrays[f"{split}/image_caption"],
        [str(label) for label in arrays[f"{split}/image_label"]],
        [str(caption) for caption in arrays[f"{split}/captions"]],
        arrays[f"{split}/caption_group"],
        rows,
        pictures[rows],
    )
    _check_index(gallery.own, images, len(gallery.captions), f"{split}/image_caption")
    held = (len(gallery.labels), len(gallery.captions), len(gallery.group))
    if held != (images, captions, captions):
        raise ValueError(f"{split}: labels or captions are not as many as their embeddings")
    return gallery


def _check_index(index: np.ndarray, count: int, limit: int, name: str) -> None:
    """`index` must be [count] integers from 0 to limit − 1."""
    if index.shape != (count,) or not np.issubdtype(index.dtype, np.integer):
        raise ValueError(f"{name} is {index.dtype} {list(index.shape)}, not integers [{count}]")
    if count and not (index.min() >= 0 and index.max() < limit):
        raise ValueError(f"{name} points beyond {limit} rows")


def _check_same_tests(first: ReportedRun, other: ReportedRun) -> None:
    """A table of runs that were tested on different images would compare nothing."""
    for name, gallery in first.galleries.items():
        found = other.galleries.get(name)
        if (
            found is None
            or found.captions != gallery.captions
            or not np.array_equal(found.own, gallery.own)
            or not np.array_equal(found.rows, gallery.rows)
        ):
            raise AligngapError(
                f"{first.workdir} and {other.workdir} were evaluated on different images of "
                f"{name}: report them apart, or run `{EVALUATE.format(workdir=other.workdir)}`"
            )


def _distinct_labels(runs: Sequence[ReportedRun]) -> list[str]:
    """Names as the papers write them; runs of one name get their seed, then their workdir."""
    labels = [PAPERS.get(run.label, run.label) for run in runs]
    for more in (
        [f"seed {run.config.get('seed')}" for run in runs],
        [r.workdir.name for r in runs],
    ):
        labels = [
            f"{label}, {extra}" if labels.count(label) > 1 else label
            for label, extra in zip(labels, more, strict=True)
        ]
    return [
        f"{label} ({number})" if labels.count(label) > 1 else label
        for number, label in enumerate(labels, start=1)
    ]
