"""One part of a shard, looked at: where its records lie, what they are like, what is left out."""

import contextlib
import io
import json
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from aligngap import atomic
from aligngap.data import images, store
from aligngap.data.records import Record
from aligngap.data.sources import formats
from aligngap.data.sources.raw import LeftOut, Place, Raw, Rules, Settings, digest, role_of
from aligngap.errors import AligngapError, StoreError

# Of each record; and of each caption, one record's after the other's.
OF_RECORDS: dict[str, Any] = {
    **{"offset": np.uint64, "size": np.uint32, "image": np.uint64, "captions": np.uint32},
    **{"width": np.uint32, "height": np.uint32, "role": "U10"},
}
OF_CAPTIONS: dict[str, Any] = {"caption": np.uint64, "length": np.uint32}
LARGEST = 89_478_485  # Pixels: Pillow's own limit, where it only warns; of twice as many it fails.
# What is larger is counted, not warned of. Once for all threads: they share their filters.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Part:
    """What one process examines at a time; its findings become `target`."""

    settings: Settings
    shard: str
    role: str  # That the user gave the whole shard; "": none.
    number: int
    target: Path

    @property
    def fetched(self) -> Path:
        """The folder for a remote shard, while it is looked at."""
        return self.target.parents[1] / "fetched"


@dataclass
class Findings:
    """Columns of OF_RECORDS and OF_CAPTIONS, classes by kind, and what was left out."""

    columns: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    classes: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def as_npz(self) -> bytes:
        """What `read_findings` reads."""
        about = {"classes": {kind: sorted(names) for kind, names in self.classes.items()}}
        text = json.dumps(about | {"left_out": self.left_out}).encode()
        arrays: dict[str, Any] = {
            name: np.array(self.columns[name], dtype)
            for name, dtype in (OF_RECORDS | OF_CAPTIONS).items()
        }
        written = io.BytesIO()
        np.savez(written, about=np.frombuffer(text, np.uint8), **arrays)
        return written.getvalue()


def examine(part: Part) -> int:
    """Writes the findings, whole or not at all; returns how many records it looked at."""
    found, looked = examined(part)
    atomic.write(part.target, found)
    return looked


def examined(part: Part) -> tuple[bytes, int]:
    """(the findings as .npz, how many records were looked at)."""
    findings, looked = Findings(), 0
    with _at_hand(part) as path:
        for found in _found(part, path):
            looked += 1
            try:
                if isinstance(found, LeftOut):
                    raise found
                _add(part, path, found, findings)
            except LeftOut as reason:
                findings.left_out.append((reason.reason, reason.detail))
    return findings.as_npz(), looked


@contextlib.contextmanager
def _at_hand(part: Part) -> Iterator[str]:
    """Where the shard can be read; a remote one is fetched, unless a part is all that is read."""
    if formats.of(part.settings).by_parts:
        yield part.shard
        return
    with store.local(part.shard, part.fetched) as path:
        yield str(path)


def _found(part: Part, path: str) -> Iterator[Place | LeftOut]:
    try:
        yield from formats.of(part.settings).places(path, part.number)
    except StoreError:
        raise
    except AligngapError as error:  # A shard, or the rest of it, that cannot be read.
        yield LeftOut("a shard cannot be read", str(error).replace(path, part.shard))


def _add(part: Part, path: str, place: Place, findings: Findings) -> None:
    raw = formats.of(part.settings).read(path, place)
    try:
        record, (width, height) = _checked(raw, part.settings.rules)
        role = part.role or role_of(raw.splits)
    except LeftOut as reason:
        raise reason.named(raw.name) from None
    row = {
        **{"offset": place.offset, "size": place.size, "image": digest(raw.image)},
        **{"captions": len(record.captions), "width": width, "height": height},
        "role": role,
    }
    for name, value in row.items():
        findings.columns[name].append(value)
    for caption in record.captions:
        findings.columns["caption"].append(digest(caption.encode()))
        findings.columns["length"].append(len(caption))
    for kind, name in raw.labels.items():
        findings.classes[kind].add(name)


def _checked(raw: Raw, rules: Rules) -> tuple[Record, tuple[int, int]]:
    record = rules.record(raw)
    size = size_of(raw.image, rules.check)
    rules.check_size(*size)
    return record, size


def size_of(encoded: bytes, check: str) -> tuple[int, int]:
    """(width, height) of an image that can be decoded; LeftOut where it cannot.

    To see that a JPEG is whole an eighth of its resolution suffices: all its bytes are read.
    """
    try:
        image = images.header(encoded)
        width, height = image.size
        if width * height > LARGEST:
            raise LeftOut("image is too large to decode", f"{width} × {height}")
        if check == "decode":
            image.draft("RGB", (max(1, width // 8), max(1, height // 8)))
            image.load()
    except LeftOut:
        raise
    except Image.DecompressionBombError as error:
        raise LeftOut("image is too large to decode", str(error)) from error
    except UnidentifiedImageError as error:  # Its words have an address in memory.
        raise LeftOut("image cannot be decoded", "unknown format") from error
    except Exception as error:  # Pillow's readers raise anything for a broken file.
        raise LeftOut("image cannot be decoded", " ".join(str(error).split())) from error
    return width, height


def undecodable(part: Part, columns: dict[str, np.ndarray], row: int) -> LeftOut | None:
    """Why a record of the part, of which only the header was looked at, cannot be evaluated on."""
    place = Place(int(columns["offset"][row]), int(columns["size"][row]))
    raw = formats.of(part.settings).read(part.shard, place)
    try:
        size_of(raw.image, "decode")
    except LeftOut as reason:
        return reason.named(raw.name)
    return None


def read_findings(target: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(columns, {"classes", "left_out"}) of a part."""
    with np.load(target, allow_pickle=False) as found:
        columns = {name: found[name] for name in OF_RECORDS | OF_CAPTIONS}
        return columns, json.loads(bytes(found["about"]))
