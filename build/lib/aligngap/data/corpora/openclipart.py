"""Drawings of the Open Clip Art Library: titles and keywords by their authors."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from aligngap.data import debian
from aligngap.data.corpora.packaged import Packaged, Picture
from aligngap.data.corpus import Licence

FOLDER = "usr/share/openclipart/svg"
TITLE = "{http://purl.org/dc/elements/1.1/}title"
KEYWORDS = (
    "{http://purl.org/dc/elements/1.1/}subject//{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li"
)
LEFT_OUT = ("shapes/stars/", "special/", "unsorted/duplicates/")  # Patterns, not things.
OFTEN = 4  # A title of so many drawings is that of a collection, or of the file it began as.
LARGEST = 500_000  # Bytes of a drawing.
NO_WORDS = {"hash", "theme", "magick", "clip_art", "clipart"}


class Openclipart(Packaged):
    """Some three thousand drawings in folders of things."""

    pin = debian.DebPin(
        "openclipart-svg",
        "1:0.18+dfsg-19",
        "989712d90d57dfa3230049f553bb43b76c30ee4d4b8c5f6e106e33f7db5cbdc5",
    )
    provides = Licence(
        "openclipart-svg",
        "0.18+dfsg",
        "public domain",
        "openclipart-svg",
        "drawings with titles and keywords",
    )
    title = "Held-out drawings"
    kinds = ("folder", "leaf")

    @staticmethod
    def pictures(package: Path) -> Iterator[Picture]:
        files = {
            path: content
            for path, content in sorted(debian.members(package, FOLDER))
            if path.endswith(".svg") and not path.startswith(LEFT_OUT) and len(content) < LARGEST
        }
        about = {path: _about(content) for path, content in files.items()}
        often = Counter(title for title, _ in about.values())
        for path, (title, keywords) in about.items():
            if title and often[title] < OFTEN:
                folders = path.split("/")[:-1]
                labels = {"folder": folders[0], "leaf": "/".join(folders[:2])}
                name = path.removesuffix(".svg").replace(".", "_")
                yield Picture(name, "svg", files[path], [title], keywords, labels)


def _about(svg: bytes) -> tuple[str, list[str]]:
    """(title, keywords), cleaned; ("", []) where the drawing has no title to go by."""
    try:
        root = ElementTree.fromstring(svg)  # Expat refuses entities that grow without bound.
    except ElementTree.ParseError:
        return "", []
    found = root.find(f".//{TITLE}")
    title = _title((found.text or "") if found is not None else "")
    words = [" ".join((word.text or "").lower().split()) for word in root.findall(f".//{KEYWORDS}")]
    good = [word for word in words if 2 < len(word) < 25 and word not in NO_WORDS]
    plain = (word for word in dict.fromkeys(good) if word.isascii() and "_" not in word)
    return title, [word for word in plain if not _address(word)]


def _address(text: str) -> bool:
    """Whether it names a person's mail or site."""
    return "@" in text or "http" in text.lower()


def _title(text: str) -> str:
    """ "Clipart by Nicu Buculei - jigsaw_red_10" → "jigsaw red"; "" for what names nothing."""
    title = re.sub(r"^Clipart by [^-]* - ", "", text.strip())
    if _address(title):
        return ""
    title = re.sub(r"[_\-\s]+", " ", title)
    title = re.sub(r"\b(\d+|svg|bw|v\d)\b|(?<=[a-z])\d+\b", "", title, flags=re.IGNORECASE)
    title = " ".join(title.split())
    return title if re.search(r"[A-Za-z]{3}", title) and len(title) < 80 else ""
