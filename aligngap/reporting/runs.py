"""What a run has left in its workdir, read and checked, for the page to show."""

import dataclasses
import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from aligngap.errors import AligngapError

MOMENTS = ("initial", "trained")
GAP, FOUND = "centroid_distance", "text_retrieval_recall@10"  # what the headline is made of
LABEL_LENGTH = 40  # a name stands in headings, sentences and table heads
TRAIN = "aligngap train --config=FILE --workdir={workdir}"
EVALUATE = "aligngap evaluate --workdir={workdir}"


@dataclasses.dataclass(frozen=True)
class Number:
    """A measured value with its 95 % interval, and chance where a random ranking has one."""

    value: float
    low: float
    high: float
    chance: float | None = None


@dataclasses.dataclass(frozen=True)
class Split:
    """One test split's results: retrieval, zero_shot[label set] and gap by their metric names."""

    num_images: int
    num_captions: int
    retrieval: dict[str, Number]
    zero_shot: dict[str, dict[str, Number]]
    gap: dict[str, Number]
    initial_gap: dict[str, Number]


@dataclasses.dataclass(frozen=True)
class Cloud:
    """L2-normalised embeddings of one split at one moment of a run."""

    image: Float[np.ndarray, "N D"]
    text: Float[np.ndarray, "C D"]


@dataclasses.dataclass(frozen=True)
class Gallery:
    """One split's images and captions: `concept` [N] indexes the captions, `rows` the images."""

    concept: Int[np.ndarray, "N"]
    groups: list[str]
    captions: list[str]
    rows: Int[np.ndarray, "K"]
    thumbnails: UInt8[np.ndarray, "K H W 3"]


@dataclasses.dataclass(frozen=True)
class Run:
    """One workdir. `clouds[split][moment]`; `curves[metric]` is its (steps, values)."""

    workdir: Path
    label: str
    config: dict[str, Any]
    step: int
    commands: list[str]
    versions: dict[str, str]
    curves: dict[str, tuple[Float[np.ndarray, "T"], Float[np.ndarray, "T"]]]
    splits: dict[str, Split]
    clouds: dict[str, dict[str, Cloud]]
    galleries: dict[str, Gallery]


def read(workdirs: Sequence[Path]) -> list[Run]:
    """The runs with labels made distinct; AligngapError where their test sets differ."""
    if not workdirs:
        raise AligngapError("no workdir was given: there is nothing to report")
    runs = [_read_run(Path(workdir)) for workdir in workdirs]
    for run in runs[1:]:
        _check_same_tests(runs[0], run)
    labels = _distinct_labels(runs)
    return [dataclasses.replace(run, label=name) for run, name in zip(runs, labels, strict=True)]


def _read_run(workdir: Path) -> Run:
    with _reading(workdir / "config.json", TRAIN) as path:
        config = dict(json.loads(path.read_text("utf-8")))
    with _reading(workdir / "evaluation.json", EVALUATE) as path:
        evaluation = json.loads(path.read_text("utf-8"))
        splits = {name: _split(entry) for name, entry in evaluation["splits"].items()}
        found: dict[str, Any] = {
            "step": int(evaluation["step"]),
            "commands": [str(command) for command in evaluation["commands"]],
            "versions": {str(k): str(v) for k, v in evaluation["versions"].items()},
        }
    curves: dict[str, Any] = {}
    if found["step"]:  # At step 0 it came trained.
        with _reading(workdir / "metrics.jsonl", TRAIN) as path:
            curves = _curves(_records(path.read_text("utf-8", errors="replace")))
    with _reading(workdir / "gap.json", EVALUATE) as path:
        gap = json.loads(path.read_text("utf-8"))
        _check_step(path, gap["step"], found["step"])
        splits = {name: _with_gap(split, gap, name) for name, split in splits.items()}
    with _reading(workdir / "embeddings.npz", EVALUATE) as path, np.load(path) as arrays:
        _check_step(path, arrays["step"], found["step"])
        clouds = {name: _clouds(arrays, name) for name in splits}
        galleries = {name: _gallery(arrays, name) for name in splits}
    name = str(config.get("name") or workdir.resolve().name)
    label = name if len(name) <= LABEL_LENGTH else name[: LABEL_LENGTH - 1] + "…"
    return Run(workdir, label, config, curves=curves, splits=splits, clouds=clouds,
               galleries=galleries, **found)  # fmt: skip


def _check_step(path: Path, found: Any, step: int) -> None:
    """evaluate writes its files one by one, and may have been killed between two of them."""
    if int(found) != step:
        raise AligngapError(
            f"{path} is of step {int(found)} and evaluation.json of step {step}: "
            f"run `{EVALUATE.format(workdir=path.parent)}` again"
        )


@contextmanager
def _reading(path: Path, command: str) -> Iterator[Path]:
    """Turns whatever goes wrong with a file into one line: which file, and what makes it."""
    remedy = f"run `{command.format(workdir=path.parent)}`"
    try:
        yield path
    except FileNotFoundError:
        raise AligngapError(f"{path} is missing: {remedy}") from None
    except KeyError as error:
        key = str(error.args[0]).split(" ")[0]  # NumPy adds words of its own
        raise AligngapError(f"{path} lacks {key!r}: {remedy} again") from None
    except (
        AttributeError, EOFError, OSError, TypeError, ValueError, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split()) or type(error).__name__
        raise AligngapError(f"{path} cannot be read ({reason}): {remedy} again") from None


def _records(text: str) -> Iterator[dict[str, Any]]:
    """The objects of metrics.jsonl; its last line may be half-written, for a run may be killed."""
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            yield dict(json.loads(line))
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


def _split(entry: dict[str, Any]) -> Split:
    zero_shot = {name: _numbers(found) for name, found in entry["zero_shot"].items()}
    counts = int(entry["num_images"]), int(entry["num_captions"])
    return Split(*counts, _numbers(entry["retrieval"], FOUND), zero_shot, gap={}, initial_gap={})


def _with_gap(split: Split, gap: dict[str, Any], name: str) -> Split:
    """The split with its measures; a model that came trained has no initial ones."""
    initial = gap.get("initial", {}).get(name, {"measures": {}})
    return dataclasses.replace(
        split,
        gap=_numbers(gap["splits"][name]["measures"], GAP),
        initial_gap=_numbers(initial["measures"]),
    )


def _numbers(entry: dict[str, Any], needed: str | None = None) -> dict[str, Number]:
    """metric → its number; KeyError where `needed` is not among them."""
    if needed is not None and needed not in entry:
        raise KeyError(needed)
    return {name: _number(found) for name, found in entry.items()}


def _number(entry: dict[str, Any]) -> Number:
    chance = float(entry["chance"]) if "chance" in entry else None
    return Number(float(entry["value"]), float(entry["low"]), float(entry["high"]), chance)


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
        arrays[f"{split}/image_concept"],
        [str(group) for group in arrays[f"{split}/group"]],
        [str(caption) for caption in arrays[f"{split}/captions"]],
        rows,
        pictures[rows],
    )
    _check_index(gallery.concept, images, len(gallery.captions), f"{split}/image_concept")
    if (images, captions) != (len(gallery.groups), len(gallery.captions)):
        raise ValueError(f"{split}: groups or captions are not as many as their embeddings")
    return gallery


def _check_index(index: np.ndarray, count: int, limit: int, name: str) -> None:
    """`index` must be [count] integers from 0 to limit − 1."""
    if index.shape != (count,) or not np.issubdtype(index.dtype, np.integer):
        raise ValueError(f"{name} is {index.dtype} {list(index.shape)}, not integers [{count}]")
    if count and not (index.min() >= 0 and index.max() < limit):
        raise ValueError(f"{name} points beyond {limit} rows")


def _check_same_tests(first: Run, other: Run) -> None:
    """A table of runs that were tested on different images would compare nothing."""
    for name, gallery in first.galleries.items():
        found = other.galleries.get(name)
        if (
            found is None
            or found.captions != gallery.captions
            or not np.array_equal(found.concept, gallery.concept)
            or not np.array_equal(found.rows, gallery.rows)
        ):
            raise AligngapError(
                f"{first.workdir} and {other.workdir} were evaluated on different images of "
                f"{name}: report them apart, or run `{EVALUATE.format(workdir=other.workdir)}`"
            )


def _distinct_labels(runs: Sequence[Run]) -> list[str]:
    """Names as the papers write them; runs of one name get their seed, then their workdir."""
    papers = {"clip": "CLIP", "sharedclip": "SharedCLIP", "alignclip": "AlignCLIP"}
    labels = [papers.get(run.label, run.label) for run in runs]
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
