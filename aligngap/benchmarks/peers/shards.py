"""The files that all readers are measured on: webdataset's shards of real pictures as JPEG."""

import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from aligngap import atomic, lock, progress
from aligngap.data import debian, fetch
from aligngap.data.corpora import packaged
from aligngap.data.corpora.openclipart import Openclipart
from aligngap.data.corpora.packaged import CHUNK, Chunk, Picture
from aligngap.data.corpora.stamps import Stamps
from aligngap.data.sources import workers

SIDE, PAGE = 512, 1024  # Pixels of a picture's longer side, at most, and of a drawing's page.
QUALITY = 90
SHARD = 500  # Records.


def made(data_dir: Path) -> Path:
    """The folder of shards of `openclipart` and `stamps`, one as likely as the other everywhere;
    made unless it is there."""
    folder = data_dir / "bench-readers" / f"shards-{SIDE}-{QUALITY}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with lock.alone(folder.parent / ".shards.lock"):
        if not folder.exists():
            pictures = list(chain(*(_pictures(corpus, data_dir) for corpus in CORPORA)))
            with atomic.folder(folder) as filling:
                write(pictures, filling)
    return folder


CORPORA = (Openclipart, Stamps)


def _pictures(corpus: type[packaged.Packaged], data_dir: Path) -> Iterator[Picture]:
    return corpus.pictures(debian.package(corpus.pin, fetch.downloads(data_dir)))


def write(pictures: Sequence[Picture], folder: Path) -> None:
    """Shards of a JPEG and a caption each, in a random order."""
    order = np.random.default_rng(0).permutation(len(pictures)).tolist()
    mixed = [pictures[i] for i in order]
    kept = [(picture, jpeg) for picture, jpeg in zip(mixed, _jpegs(mixed), strict=True) if jpeg]
    for start in range(0, len(kept), SHARD):
        with tarfile.open(folder / f"{start // SHARD:05d}.tar", "w") as archive:
            for row, (picture, jpeg) in enumerate(kept[start : start + SHARD], start):
                for kind, content in (("jpg", jpeg), ("txt", picture.captions[0].encode())):
                    member = tarfile.TarInfo(f"{row:09d}.{kind}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))


def _jpegs(pictures: Sequence[Picture]) -> list[bytes]:
    """b"" for what cannot be rendered or is blank."""
    starts = range(0, len(pictures), CHUNK)
    chunks = [Chunk(n, [*pictures[start : start + CHUNK]]) for n, start in enumerate(starts)]
    found: dict[int, list[bytes]] = {}
    with progress.Bar("Rendering", len(pictures), "pictures") as bar:
        for number, jpegs in workers.each(render, chunks, os.cpu_count() or 1):
            found[number] = jpegs
            bar.advance(len(jpegs))
    return [jpeg for number in sorted(found) for jpeg in found[number]]


def render(chunk: Chunk) -> tuple[int, list[bytes]]:
    """(number, JPEGs) of a chunk."""
    return chunk.number, [_jpeg(picture) for picture in chunk.pictures]


def _jpeg(picture: Picture) -> bytes:
    image = packaged.rendered(picture, SIDE, PAGE)
    written = io.BytesIO()
    if image is not None:
        image.save(written, "JPEG", quality=QUALITY)
    return written.getvalue()
