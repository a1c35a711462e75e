"""Some of the pairs as people see them: captions and pictures, read from files of others."""

import dataclasses
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int
from PIL import Image

from aligngap.data import images
from aligngap.data.images import FORMATS
from aligngap.errors import AligngapError
from aligngap.gap import sources, streaming

SHOWN = 2_000  # pairs: with pictures they weigh about two million bytes
CAPTION = 300  # characters, of which a page shows no more
THUMBNAIL = 64  # pixels of the longer side


@dataclasses.dataclass(frozen=True)
class Examples:
    """K pairs in order; None of what no file was given of."""

    places: Int[np.ndarray, "K"]  # among the sampled pairs
    rows: Int[np.ndarray, "K"]  # in the files, from 0
    captions: list[str] | None
    pictures: list[bytes] | None  # thumbnails, WebP


def read(
    captions: str | Path | None,
    pictures: str | Path | None,
    sampled: Int[np.ndarray, "S"],
    pairs: int,
    seed: int,
) -> Examples:
    """Up to SHOWN of the sampled rows. Of the pictures only those are opened.

    AligngapError names the file, and the line or row, of what is no caption or no picture.
    """
    places = streaming.sample(len(sampled), SHOWN, seed)
    rows = sampled[places]
    return Examples(
        places,
        rows,
        [_cut(text) for text in _captions(captions, rows, pairs)] if captions else None,
        [_thumbnail(image) for image in _pictures(pictures, rows, pairs)] if pictures else None,
    )


def _captions(given: str | Path, rows: np.ndarray, pairs: int) -> Iterable[str]:
    if not sources.holds_array(given):
        return _chosen_lines(given, "captions", rows, pairs)
    source = sources.array(given)
    if len(source.shape) != 1 or source.dtype.kind != "U":
        raise AligngapError(
            f"{given}: expected captions [N], strings; found {source.dtype} {list(source.shape)}"
        )
    sources.expect_each(given, "captions", source.shape[0], pairs)
    return [str(source.read(row, row + 1)[0]) for row in rows]


def _pictures(given: str | Path, rows: np.ndarray, pairs: int) -> Iterator[Image.Image]:
    if sources.holds_array(given):
        return _from_array(given, rows, pairs)
    return _from_files(Path(given), rows, _chosen_lines(given, "pictures", rows, pairs))


def _from_array(given: str | Path, rows: np.ndarray, pairs: int) -> Iterator[Image.Image]:
    source = sources.array(given)
    channels = source.shape[3:]
    if source.dtype != np.uint8 or len(source.shape) < 3 or channels not in ((), (1,), (3,), (4,)):
        raise AligngapError(
            f"{given}: expected pictures [N, H, W] or [N, H, W, 1, 3 or 4], uint8; "
            f"found {source.dtype} {list(source.shape)}"
        )
    sources.expect_each(given, "pictures", source.shape[0], pairs)
    for row in rows:
        pixels = source.read(row, row + 1)[0]
        yield Image.fromarray(pixels[..., 0] if channels == (1,) else pixels)


def _from_files(given: Path, rows: np.ndarray, names: list[str]) -> Iterator[Image.Image]:
    """The files that the list names, relative to its folder; nothing else is opened."""
    for row, name in zip(rows, names, strict=True):
        try:
            yield _opened(given.parent / name)
        except Exception as error:  # Pillow's readers raise anything for a broken file.
            raise AligngapError(
                f"{given} line {row + 1}: {given.parent / name} is no picture ({error}); "
                f"expected {', '.join(FORMATS)}"
            ) from error


def _opened(path: Path) -> Image.Image:
    """A pipe or a device would never end."""
    if not path.is_file():
        raise FileNotFoundError("no such file")
    with Image.open(path, formats=FORMATS) as image:
        image.draft("RGB", (2 * THUMBNAIL, 2 * THUMBNAIL))  # decodes a large JPEG in small
        image.load()
        return images.turned(image, images.orientation(image))


def _chosen_lines(given: str | Path, what: str, rows: np.ndarray, pairs: int) -> list[str]:
    """Those rows' lines; the others are only counted."""
    wanted, found, count = set(rows.tolist()), [], 0
    for count, line in enumerate(sources.lines(given, what), start=1):
        if count - 1 in wanted:
            found.append(line)
    sources.expect_each(given, what, count, pairs)
    return found


def _thumbnail(image: Image.Image) -> bytes:
    small = image.convert("RGBA" if image.has_transparency_data else "RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=80)
    return buffer.getvalue()


def _cut(caption: str) -> str:
    return caption if len(caption) <= CAPTION else caption[: CAPTION - 1] + "…"
