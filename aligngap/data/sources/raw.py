"""What lies in a user's files before it is a record, and which of it becomes one."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Self

from aligngap import json_text
from aligngap.data.records import Record
from aligngap.errors import AligngapError
from aligngap.json_text import NUMBER

# What columns, keys of a JSON and members of a tar are usually called, first come first.
IMAGES = (
    *("image", "filepath", "file_path", "image_path", "path", "file_name", "filename", "img"),
    *("jpg", "png", "webp", "jpeg"),
)
CAPTIONS = ("captions", "caption", "title", "text", "txt", "sentences", "sentence", "raw")

ROLES = ("", "train", "validation", "test")  # Of an image that has several: the last of them.
SPLITS = {
    **dict.fromkeys(("train", "training", "restval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
HALF = re.compile("[\ud800-\udfff]")  # Of a character of UTF-16.


class LeftOut(AligngapError):
    """Something that does not become a record: a reason to count by, and what it says here."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason, self.detail = reason, detail

    def named(self, name: str) -> "LeftOut":
        """The same, its detail beginning with what it befell."""
        known = self.detail.startswith(name)
        detail = self.detail if known else f"{name}: {self.detail}".removesuffix(": ")
        return LeftOut(self.reason, detail)

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.reason, self.detail)


class Place(NamedTuple):
    """Where a record lies in its shard; what the two numbers mean is its format's."""

    offset: int
    size: int


@dataclass(frozen=True)
class Raw:
    """An encoded image and the texts beside it, as they stand in the files."""

    image: bytes
    captions: Sequence[str]
    keywords: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    splits: Sequence[str] = ()  # What the files call the split that they put it in, row by row.


@dataclass(frozen=True)
class Columns:
    """Which columns (of a table), keys (of a JSON) or members (of a tar) are what; "" and ():
    found by their usual names."""

    image: str = ""
    captions: tuple[str, ...] = ()
    keywords: str = ""
    labels: tuple[str, ...] = ()  # Kinds of labels; each is the name of its column.
    caption_a_line: bool = False  # Each line of a text is a caption of its own.

    def image_in(self, names: Iterable[str]) -> str:
        """The one of `names` that holds the image; "" where none does."""
        return _first((self.image,) if self.image else IMAGES, names)

    def captions_in(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of `names` that hold captions: the given ones, else the first of the usual."""
        there = set(names)
        if self.captions:
            return tuple(name for name in self.captions if name in there)
        return tuple(filter(None, (_first(CAPTIONS, there),)))

    def texts(self, row: Mapping[str, Any]) -> list[str]:
        """Every caption of a row: a text, a list of texts, or of dicts that hold one."""
        found = [text for name in self.captions_in(row) for text in texts_in(row[name])]
        if not self.caption_a_line:
            return found
        return [line for text in found for line in text.splitlines()]

    def keywords_of(self, row: Mapping[str, Any]) -> list[str]:
        """The keywords of a row: a list, or one text with commas."""
        given = row.get(self.keywords or "keywords")
        split = _text(given).split(",") if isinstance(given, str) else texts_in(given)
        return [word for text in split if (word := " ".join(text.split()))]

    def labels_of(self, row: Mapping[str, Any]) -> dict[str, str]:
        """The classes of a row, by kind; LeftOut where one has none."""
        for kind in self.labels:
            if row.get(kind) in (None, "", b""):
                raise LeftOut("no label", kind)
        return {kind: _text(row[kind]).strip() for kind in self.labels}


@dataclass(frozen=True)
class Rules:
    """What is left out, beside what cannot be read; 0 is no bound."""

    check: str = "decode"  # Of an image: decode all of it | header: only its size.
    min_side: int = 0  # Pixels of the shorter side.
    max_aspect: float = 0.0  # Longer side by shorter.
    min_caption: int = 0  # Characters.
    max_caption: int = 0

    def captions(self, given: Sequence[str]) -> tuple[str, ...]:
        """Those that stay, on one line each, none twice; LeftOut where none does."""
        cleaned = [text for caption in given if (text := " ".join(caption.split()))]
        if not cleaned:
            raise LeftOut("no caption")
        most = self.max_caption or max(map(len, cleaned))
        kept = [text for text in cleaned if self.min_caption <= len(text) <= most]
        if not kept:
            raise LeftOut("caption length", f"{len(cleaned[0])} characters")
        return tuple(dict.fromkeys(kept))

    def record(self, raw: Raw) -> Record:
        """The record of what was found, its image not yet looked at."""
        return Record(
            image=raw.image,
            captions=self.captions(raw.captions),
            keywords=tuple(raw.keywords),
            labels=raw.labels,
            name=raw.name,
        )

    def check_size(self, width: int, height: int) -> None:
        """LeftOut for an image outside the bounds."""
        short, long = sorted((width, height))
        if short < self.min_side:
            raise LeftOut("shorter side", f"{width} × {height}")
        if self.max_aspect and long > self.max_aspect * short:
            raise LeftOut("aspect", f"{width} × {height}")


SETTINGS = {  # As JSON.
    "format": str,
    "images": str,
    "columns": {
        **dict.fromkeys(("image", "keywords"), str),
        **{name: [str] for name in ("captions", "labels")},
    },
    "rules": {
        "check": str,
        **dict.fromkeys(("min_side", "max_aspect", "min_caption", "max_caption"), NUMBER),
    },
}


@dataclass(frozen=True)
class Settings:
    """What decides, with the files themselves, which records a prepared corpus has."""

    format: str
    columns: Columns
    rules: Rules
    images: str = ""  # The folder that paths in tables are relative to; "": that of the table.

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, given: Mapping[str, Any]) -> Self:
        """ValueError, TypeError or KeyError for what `as_json` did not make."""
        json_text.expect(given, SETTINGS)
        columns, rules = dict(given["columns"]), Rules(**given["rules"])
        columns |= {name: tuple(columns[name]) for name in ("captions", "labels")}
        return cls(given["format"], Columns(**columns), rules, given["images"])


def texts_in(value: Any) -> list[str]:
    """Text → [text]; a list → its texts; dicts of COCO's or Karpathy's form → theirs. Bytes are
    UTF-8, LeftOut for others; true, false and NaN say nothing."""
    if value is None or isinstance(value, bool) or value != value:
        return []
    if isinstance(value, str | bytes):
        return [_text(value)]
    if isinstance(value, Mapping):
        return texts_in(value.get(_first((*CAPTIONS, "raw"), value)))
    if isinstance(value, Sequence):
        return [text for part in value for text in texts_in(part)]
    return [str(value)]


def split_of(row: Mapping[str, Any]) -> str:
    """What a row calls the split that it is for; "" where it does not say."""
    return " ".join(texts_in(row.get(_first(("split",), row)))).strip()


def role_of(splits: Iterable[str]) -> str:
    """The one of ROLES that they stand for, the last if there are several; LeftOut for a split of
    an unknown name."""
    roles = [""]
    for split in filter(None, splits):
        if split.lower() not in SPLITS:
            raise LeftOut("unknown split", f"{split!r}; expected one of {', '.join(SPLITS)}")
        roles.append(SPLITS[split.lower()])
    return max(roles, key=ROLES.index)


def decoded(content: bytes) -> str:
    """UTF-8 → text; LeftOut for anything else."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LeftOut("text is no UTF-8", f"byte 0x{content[error.start]:02x}") from None


def parsed(content: bytes) -> dict[str, Any]:
    """A JSON object; LeftOut for anything else."""
    try:
        found = json_text.value(decoded(content))
    except ValueError:
        raise LeftOut("JSON cannot be read") from None
    if not isinstance(found, dict):
        raise LeftOut("JSON cannot be read", "it is no object")
    return found


def digest(content: bytes) -> int:
    """64 bits of BLAKE2b: what decides a record's split, and tells equal ones."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def _text(value: Any) -> str:
    """LeftOut for half a character, which JSON may spell ("\\ud800") and no file can hold."""
    if isinstance(value, bytes):
        return decoded(value)
    text = str(value)
    if not text.isascii() and (half := HALF.search(text)):
        raise LeftOut("text is no UTF-8", ascii(half[0]))
    return text


def _first(wanted: Iterable[str], names: Iterable[str]) -> str:
    """The first of the wanted that is there; also as "Image" or " caption"."""
    there = {alike: name for name in names for alike in (name.strip().lower(), name)}
    return next((there[name] for name in wanted if name in there), "")
