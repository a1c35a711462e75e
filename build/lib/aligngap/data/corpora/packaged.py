"""Corpora made of the files of a package: rendered once into tar shards, then prepared as a user's
own files are (aligngap/data/sources)."""

import abc
import functools
import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import resvg_py
from PIL import Image, ImageChops

from aligngap import atomic, lock, progress
from aligngap.data import debian, fetch, images
from aligngap.data.corpora.prepared import Prepared, exists
from aligngap.data.corpus import Corpus, Licence, Split
from aligngap.data.records import Source
from aligngap.data.sources import workers
from aligngap.data.sources.machines import ThisMachine
from aligngap.data.sources.prepare import Request, prepare
from aligngap.data.sources.raw import Columns, Rules, digest
from aligngap.data.sources.splitting import Splitting
from aligngap.errors import AligngapError

SIDE = 256  # Pixels of the longer side of a picture, at most.
DRAWN, DPI = 512, 90  # Pixels of the longer side of a page; Inkscape's resolution then.
SHARD = 1000  # Records.
CHUNK = 64  # Pictures that a process renders at a time.


@dataclass(frozen=True)
class Picture:
    """A file of the package, and what is said of it."""

    name: str  # Without a suffix: the record's.
    kind: str  # svg | png
    content: bytes
    captions: Sequence[str]
    keywords: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


class Form(NamedTuple):
    """As what pictures are rendered."""

    kind: str = "PNG"  # Pillow's name of a format.
    side: int = SIDE  # Pixels of the longer side of a picture, and
    page: int = DRAWN  # of a drawing's page, at most.
    quality: int = 0  # Of a JPEG.


PNG = Form()


class Chunk(NamedTuple):
    """What one process renders; its place among the others."""

    number: int
    pictures: list[Picture]
    form: Form = PNG


class Packaged(Corpus):
    """A corpus of a Debian package, held out by image and caption."""

    title: ClassVar[str]  # Of its test split.
    pin: ClassVar[debian.DebPin]
    provides: ClassVar[Licence]
    shares = Splitting(test_share=0.15, validation_share=0.1, by="caption")

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        note = "neither the image nor its caption was trained on"
        test = Split("test", "test", self.title, note)
        self.splits = Split("train", "train"), Split("validation", "validation"), test

    @staticmethod
    @abc.abstractmethod
    def pictures(package: Path) -> Iterator[Picture]:
        """What the package has, in its order."""

    def open(self, split: str) -> Source:
        return self._prepared().open(self.split(split).name)

    def classes(self, kind: str) -> Mapping[str, Sequence[str]]:
        return self._prepared().classes(kind)

    def licences(self) -> Sequence[Licence]:
        return (self.provides,)

    def prepare(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        shards = (
            fetch.downloads(self.data_dir) / f"{self.name}-{self.pin.version.replace(':', '-')}"
        )
        with lock.alone(self.data_dir / f".{self.name}.shards.lock"):
            if not shards.exists():
                package = debian.package(self.pin, fetch.downloads(self.data_dir))
                with atomic.folder(shards) as folder:
                    _write(list(self.pictures(package)), folder)
        request = Request(
            self.name, {"": str(shards)}, Columns(labels=self.kinds), Rules(), self.shares
        )
        prepare(request, self.data_dir, ThisMachine(os.cpu_count() or 1))

    def _prepared(self) -> Prepared:
        if not exists(self.data_dir, self.name):
            raise AligngapError(
                f"{self.name} is missing in {self.data_dir}: run "
                f"`aligngap prepare --corpus={self.name} --data_dir={self.data_dir}`"
            )
        return Prepared(self.data_dir, self.name)


def _write(pictures: Sequence[Picture], folder: Path) -> None:
    """Tar shards of the pictures that can be rendered, are not blank and no two alike."""
    seen: set[int] = set()
    kept: list[tuple[str, dict[str, bytes]]] = []
    for picture, png in zip(pictures, encoded(pictures), strict=True):
        if png and digest(png) not in seen:
            seen.add(digest(png))
            texts = {"captions": [*picture.captions], "keywords": [*picture.keywords]}
            about = json.dumps(texts | dict(picture.labels), ensure_ascii=False).encode()
            kept.append((picture.name, {"png": png, "json": about}))
    archive(kept, folder, SHARD)


def archive(samples: Sequence[tuple[str, Mapping[str, bytes]]], folder: Path, size: int) -> None:
    """Tar shards of [(name, kind → content)], so many in each."""
    for start in range(0, len(samples), size):
        with tarfile.open(folder / f"{start // size:05d}.tar", "w") as shard:
            for name, contents in samples[start : start + size]:
                for kind, content in contents.items():
                    member = tarfile.TarInfo(f"{name}.{kind}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))


def encoded(pictures: Sequence[Picture], form: Form = PNG) -> list[bytes]:
    """Each picture in that form; b"" of what cannot be rendered or is blank."""
    starts = range(0, len(pictures), CHUNK)
    chunks = [Chunk(n, [*pictures[start : start + CHUNK]], form) for n, start in enumerate(starts)]
    found: dict[int, list[bytes]] = {}
    with progress.Bar("Rendering", len(pictures), "pictures") as bar:
        for number, rendered in workers.each(render, chunks, os.cpu_count() or 1):
            found[number] = rendered
            bar.advance(len(rendered))
    return [content for number in sorted(found) for content in found[number]]


def render(chunk: Chunk) -> tuple[int, list[bytes]]:
    """(number, encoded pictures) of a chunk."""
    return chunk.number, [_encoded(picture, chunk.form) for picture in chunk.pictures]


def _encoded(picture: Picture, form: Form) -> bytes:
    drawing = picture.kind == "svg"
    try:
        with images.telling(picture.name):
            image = _drawn(picture.content, form.page) if drawing else _opened(picture.content)
    except AligngapError:
        return b""
    image.thumbnail((form.side, form.side), Image.Resampling.LANCZOS)
    if len(image.getcolors(1) or ()) == 1:
        return b""
    written = io.BytesIO()
    image.save(written, form.kind, **({"quality": form.quality} if form.quality else {}))
    return written.getvalue()


def _drawn(svg: bytes, pixels: int) -> Image.Image:
    """A drawing on white, without the page around it."""
    text = svg.decode("utf-8", "replace")
    # Without this machine's fonts: on another one there are others.
    page: dict[str, Any] = {"background": "white", "dpi": DPI, "skip_system_fonts": True}
    draw: Any = functools.partial(resvg_py.svg_to_bytes, text, **page)
    image = images.decode(bytes(draw(width=pixels)))
    if image.height > pixels:
        image = images.decode(bytes(draw(height=pixels)))
    # Many stand in a corner of a page.
    return image.crop(ImageChops.difference(image, Image.new("RGB", image.size, "white")).getbbox())


def _opened(png: bytes) -> Image.Image:
    """A picture on white where it is transparent."""
    image = Image.open(io.BytesIO(png), formats=["PNG"]).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")
