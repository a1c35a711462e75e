"""The page of a prepared corpus: how much, what it looks like, what was left out and why."""

import base64
import csv
import io
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from PIL import Image

from aligngap import atomic, json_text
from aligngap.config import data_dir
from aligngap.data import images, records
from aligngap.data.corpora.prepared import Prepared
from aligngap.data.sources import indexed
from aligngap.data.sources.merge import LEFT_OUT
from aligngap.data.sources.prepare import LINES
from aligngap.errors import AligngapError
from aligngap.reporting import figures, template
from aligngap.reporting.panels import Panel

PAGE, STATISTICS = "report.html", "statistics.json"
PICTURES = 24
SIDE = 160  # Pixels of the longer side of a picture on the page.
EXAMPLES = 5  # Of each reason.
COUNTED = ("records", "captions")
LONGEST = 300  # Characters of a caption on the page.
# Counted value → (title, axis label, whether the bins widen by a constant factor).
SHAPES = {
    "shorter side": ("Sizes", "shorter side, pixels", True),
    "aspect": ("Shapes", "width by height", True),
    "characters a caption": ("Lengths of captions", "characters", False),
    "captions a record": ("Captions of an image", "captions", False),
}


class Card(NamedTuple):
    """A picture as a data URL, or why there is none, and what is said of it."""

    picture: str
    captions: list[str]
    about: str


def write(folder: Path) -> None:
    """Writes `folder`/report.html; the same corpus gives the same bytes."""
    about = indexed.about(folder)
    corpus = Prepared(folder.parent, folder.name)
    left_out = sum(about["left_out"].values())
    records = sum(split["records"] for split in about["splits"].values())
    try:
        examples = _examples(folder / LEFT_OUT)
        found = (folder / STATISTICS).read_text(encoding="utf-8")
        panels = _panels(json_text.value(found))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AligngapError(
            f"{folder / STATISTICS} or {LEFT_OUT} is damaged ({type(error).__name__} {error}): "
            f"delete {folder} and prepare it again"
        ) from error
    content = {
        "name": corpus.name,
        "flags": flags(folder),
        "lacking": list(_lacking(about, corpus)),
        "records": f"{records:,}",
        "captions": f"{sum(split['captions'] for split in about['splits'].values()):,}",
        "held": _held(about["settings"]["format"], len(about["shards"])),
        "converted": about["converted"],
        "sources": about["asked"]["sources"],
        "splits": [
            (name, *(f"{split[what]:,}" for what in COUNTED), f"{split['records'] / records:.1%}")
            for name, split in about["splits"].items()
        ],
        "left_out": f"{left_out:,}",
        "listing": LEFT_OUT,
        "reasons": [
            (reason, f"{count:,}", examples[reason])
            for reason, count in sorted(about["left_out"].items(), key=lambda item: -item[1])
        ],
        "kinds": {kind: _few(names) for kind, names in about["kinds"].items()},
        "panels": panels,
        "cards": list(_cards(corpus)),
    }
    atomic.write(folder / PAGE, template.render("corpus_page/page.html.j2", content))


def _held(form: str, shards: int) -> str:
    """What the images lie in."""
    if form == "lines":
        return "files of their own"
    return f"{shards:,} {form} file{'' if shards == 1 else 's'}"


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:20])
    return f"{len(names):,} class{'' if len(names) == 1 else 'es'}: {shown}" + (
        ", ..." if len(names) > 20 else ""
    )


def _examples(listing: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    with listing.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if len(found[row["reason"]]) < EXAMPLES:
                # What a table or a folder names is in no shard.
                shard = "" if row["shard"] == LINES else f"{row['shard']}: "
                found[row["reason"]].append(_short(shard + row["detail"]))
    return found


def _panels(statistics: dict[str, dict[str, int]]) -> list[Panel]:
    panels = []
    for name, (title, label, widening) in SHAPES.items():
        values = np.array([float(value) for value in statistics[name]])
        counts = np.array([*statistics[name].values()])
        median = _median(values, counts)
        note = f"median {median:g}, from {values.min():g} to {values.max():g}"
        svg = Markup(figures.counts(values, counts, label, widening))
        panels.append(Panel(svg, title, note, f"Histogram: {label}; {note}"))
    return panels


def _median(values: np.ndarray, counts: np.ndarray) -> float:
    return float(values[np.searchsorted(np.cumsum(counts), counts.sum() / 2)])


def _cards(corpus: Prepared) -> Iterator[Card]:
    """Records of the training split, as far apart as it is long."""
    source = corpus.open("train")
    for row in records.spread(source, PICTURES):
        record = source[row]
        labels = [f"{kind}: {name}" for kind, name in record.labels.items()]
        keywords = [f"keywords: {', '.join(record.keywords)}"] if record.keywords else []
        try:
            picture = _picture(record.image)
        except AligngapError:  # Only its size was looked at.
            picture = ""
        texts = [_short(text) for text in record.captions]
        yield Card(picture, texts, _short(" · ".join([*keywords, *labels])))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _picture(encoded: bytes) -> str:
    image = images.decode(encoded)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    image.save(written, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(written.getvalue()).decode()


def summary(folder: Path) -> Iterator[str]:
    """What the command prints of it."""
    about = indexed.about(folder)
    for name, split in about["splits"].items():
        yield f"{name:<11} {split['records']:>12,} images {split['captions']:>12,} captions"
    for reason, count in sorted(about["left_out"].items(), key=lambda item: -item[1]):
        yield f"{'left out':<11} {count:>12,} {reason}"
    yield from _lacking(about, Prepared(folder.parent, folder.name))


def _lacking(about: dict[str, Any], corpus: Prepared) -> Iterator[str]:
    """Which splits were asked for and got nothing, and what to do."""
    for role in ("validation", "test"):
        asked = (
            about["asked"]["splitting"][f"{role}_share"] != 0 or role in about["asked"]["sources"]
        )
        if asked and role not in about["splits"]:
            yield f"no image fell to {role}: {corpus.advice(role)}"


def flags(folder: Path) -> str:
    """What of a config says that it is trained on."""
    here = "" if folder.parent == data_dir("") else f" --config.data.data_dir={folder.parent}"
    return f"--config.data.corpus={folder.name}{here}"
