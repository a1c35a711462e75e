"""The files that all readers are measured on: webdataset's shards of real pictures as JPEG."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from aligngap import atomic, lock
from aligngap.data import debian, fetch
from aligngap.data.corpora import packaged
from aligngap.data.corpora.openclipart import Openclipart
from aligngap.data.corpora.packaged import Form, Picture
from aligngap.data.corpora.stamps import Stamps

FORM = Form("JPEG", side=512, page=1024, quality=90)
SHARD = 500  # Records.
CORPORA = (Openclipart, Stamps)


def made(data_dir: Path) -> Path:
    """The folder of shards of `openclipart` and `stamps`, one as likely as the other everywhere;
    made unless it is there."""
    folder = data_dir / "bench-readers" / f"shards-{FORM.side}-{FORM.quality}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with lock.alone(folder.parent / ".shards.lock"):
        if not folder.exists():
            pictures = list(chain(*(_pictures(corpus, data_dir) for corpus in CORPORA)))
            with atomic.folder(folder) as filling:
                write(pictures, filling)
    return folder


def _pictures(corpus: type[packaged.Packaged], data_dir: Path) -> Iterator[Picture]:
    return corpus.pictures(debian.package(corpus.pin, fetch.downloads(data_dir)))


def write(pictures: Sequence[Picture], folder: Path) -> None:
    """Shards of a JPEG and a caption each, in a random order."""
    order = np.random.default_rng(0).permutation(len(pictures)).tolist()
    mixed = [pictures[i] for i in order]
    jpegs = zip(mixed, packaged.encoded(mixed, FORM), strict=True)
    kept = [{"jpg": jpeg, "txt": x.captions[0].encode()} for x, jpeg in jpegs if jpeg]
    packaged.archive([(f"{row:09d}", pair) for row, pair in enumerate(kept)], folder, SHARD)
