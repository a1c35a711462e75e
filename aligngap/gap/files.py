"""The gap of embeddings in files: what `aligngap gap` reads, prints and writes."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from aligngap import atomic, progress
from aligngap.errors import AligngapError, UsageError
from aligngap.gap import clouds, copies, examples, intervals, neighbours, sources
from aligngap.gap.clouds import EXACT_PAIRS
from aligngap.gap.copies import First, Items
from aligngap.gap.examples import Examples
from aligngap.gap.intervals import RESAMPLES
from aligngap.gap.labels import ByLabel
from aligngap.gap.sources import StoredArray
from aligngap.gap.streaming import GROUPS, Chunk
from aligngap.gap.unit_rows import UnitRows
from aligngap.intervals import Interval, as_json

PRINTED_LABELS = 20
SEED = 0


@dataclasses.dataclass(frozen=True)
class Measured:
    """Two files of paired embeddings, row i of both being a pair, and their measures."""

    images: StoredArray
    texts: StoredArray
    image: Float[np.ndarray, "S D"]  # of the sampled pairs, L2-normalised
    text: Float[np.ndarray, "S D"]
    intervals: Mapping[str, Interval]
    labels: Mapping[str, Mapping[str, Any]]
    ranks: Mapping[str, Float[np.ndarray, "S"]]  # image_to_text, text_to_image: of its own pair
    items: Items  # of the sampled pairs
    copies: Mapping[str, int]  # image, text: rows that repeat another one of their file
    label: Sequence[str]  # of each sampled pair; empty where none were given
    examples: Examples

    @property
    def pairs(self) -> int:
        """All of them; those of `image` and `text` may be a sample."""
        return self.images.shape[0]

    @property
    def sampled(self) -> int | None:
        """How many pairs the measures of `clouds.SAMPLED` took; None where it was every pair."""
        return len(self.image) if len(self.image) < self.pairs else None


def measure(
    image: str | Path,
    text: str | Path,
    output: Path,
    labels: str | Path | None = None,
    exact_pairs: int = EXACT_PAIRS,
    captions: str | Path | None = None,
    pictures: str | Path | None = None,
) -> Measured:
    """Measures two files of paired embeddings in two passes and writes OUTPUT/gap.json."""
    if exact_pairs < 2:
        raise UsageError("--exact_pairs=1: the gap of clouds needs at least 2 pairs")
    images, texts = pair(image, text, least=2)
    pairs, width = images.shape
    names, index = sources.labels(labels, pairs) if labels else ([], np.empty(0, int))
    units = UnitRows(images), UnitRows(texts)
    items = copies.find(_chunks(units, pairs, "Looking for copies"))
    if items.groups < 2:
        raise AligngapError(
            f"{image} and {text}: all pairs share an image or a text; expected at least two that "
            "share none"
        )
    sampled = items.sample(exact_pairs, SEED)
    # Before the long pass: a mistake in these files is told at once.
    shown = examples.read(captions, pictures, sampled, pairs, SEED)
    by_label = ByLabel(names, width)
    chunks = _chunks(units, pairs, "Reading embeddings")
    if labels:
        chunks = _counted(chunks, by_label, index, items)
    found = clouds.gather(chunks, items, sampled, SEED, _watch)
    measured = Measured(
        images,
        texts,
        found.passed.image,
        found.passed.text,
        intervals.of(found, SEED),
        by_label.measures(),
        {k: neighbours.ranks(x) for k, x in neighbours.directions(found.neighbours).items()},
        found.passed.items,
        items.copies,
        [names[i] for i in index[sampled]] if labels else [],
        shown,
    )
    atomic.write_json(output / "gap.json", _contents(measured))
    return measured


def pair(image: str | Path, text: str | Path, least: int) -> tuple[StoredArray, StoredArray]:
    """Two files of one shape [N, D], row i of both being a pair, N ≥ `least`; else AligngapError.

    No embedding is read yet.
    """
    images, texts = sources.embeddings(image), sources.embeddings(text)
    if images.shape != texts.shape:
        raise AligngapError(
            f"{image} has shape {images.shape} and {text} {texts.shape}; expected the same "
            "[N, D], row i of both being a pair"
        )
    if images.shape[0] < least:
        raise AligngapError(f"{image} has shape {images.shape}; expected at least {least} pairs")
    return images, texts


def load(path: str | Path) -> Float[np.ndarray, "N D"]:
    """L2-normalised float32 rows; AligngapError names the file and the row that is no embedding."""
    source = sources.embeddings(path)
    unit = UnitRows(source)
    starts = range(0, source.shape[0], GROUPS)
    return np.concatenate([unit.at(start, start + GROUPS) for start in starts])


def table(found: Measured) -> str:
    """A line for each measure: its value and its 95 % interval; then one for each label."""
    lines = [f"{found.pairs:,} pairs, {found.images.shape[1]:,} dimensions: value, 95 % interval"]
    if copied := copies.said(found.copies):
        lines.append(f"{copied}: equal rows count once")
    sampled = clouds.sampled_measures(found.intervals) if found.sampled else []
    for name, x in found.intervals.items():
        mark = " *" if name in sampled else ""
        lines.append(f"{name:<41} {x.value:10.4f}   [{x.low:.4f}, {x.high:.4f}]{mark}")
    if sampled:
        lines.append(f"* of {found.sampled:,} pairs drawn at random (seed {SEED})")
    return "\n".join([*lines, *_label_lines(found.labels)])


def _label_lines(labels: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if labels:
        yield f"{'label':<41} {'pairs':>10}   centroid_distance   alignment_score"
    for name, x in list(labels.items())[:PRINTED_LABELS]:
        distance, cosine = x["centroid_distance"], x["alignment_score"]
        yield f"{name:<41} {x['pairs']:10,}   {distance:17.4f}   {cosine:15.4f}"
    if len(labels) > PRINTED_LABELS:
        yield f"{len(labels) - PRINTED_LABELS} more labels are in gap.json"


def _contents(found: Measured) -> dict[str, Any]:
    """What gap.json holds."""
    names = clouds.sampled_measures(found.intervals)
    contents = {
        "pairs": found.pairs,
        "dimension": found.images.shape[1],
        "copies": dict(found.copies),
        "seed": SEED,
        "resamples": RESAMPLES,
        "sampled": {"pairs": found.sampled, "measures": names} if found.sampled else None,
        "measures": as_json(found.intervals),
    }
    return contents | ({"labels": found.labels} if found.labels else {})


def _chunks(units: tuple[UnitRows, UnitRows], pairs: int, doing: str) -> Iterator[Chunk]:
    """Unit rows of both files, GROUPS pairs at a time, with a bar."""
    with progress.Bar(doing, pairs, "pairs") as bar:
        for start in range(0, pairs, GROUPS):
            image, text = (unit.at(start, start + GROUPS) for unit in units)
            yield image, text
            bar.advance(len(image))


def _counted(
    chunks: Iterable[Chunk], by_label: ByLabel, index: np.ndarray, items: Items
) -> Iterator[Chunk]:
    """The same chunks, each of them added to its labels."""
    counted = items.within(index).first
    for number, (image, text) in enumerate(chunks):
        rows = slice(number * GROUPS, number * GROUPS + len(image))
        by_label.add(index[rows], image, text, First(*(x[rows] for x in counted)))
        yield image, text


def _watch(starts: Sequence[int]) -> Iterator[int]:
    return progress.track(starts, "Comparing every two rows", len(starts), "tiles")
