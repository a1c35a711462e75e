"""From encoded bytes to the model's pixels: decoding, and resizing for evaluation."""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, UnidentifiedImageError

from aligngap.errors import AligngapError, UsageError

AnyImage = str | Path | Image.Image | UInt8[np.ndarray, "..."]
LARGEST = 2**27  # Pixels of a resized image, 400 MB: a strip of one pixel could become any size.
DEEP = ("PPM", "PNG")  # Formats whose mode I is of 16 bits.
TURNS = {  # By EXIF orientation.
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What strangers' images may be: not the formats for which Pillow starts another program (EPS).
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO", "TGA")


def decode(encoded: bytes, name: str = "") -> Image.Image:
    """PNG, JPEG, ... bytes → an upright RGB image; AligngapError names the record if they are not.

    What transformers' image processors make of a file's path: turned by its EXIF orientation, an
    alpha channel dropped, a transparent colour turned white. open_clip neither turns nor whitens.
    But 16 bits a pixel are scaled to 8.
    """
    with telling(name):
        image = upright(header(encoded))
    image.info["name"] = name  # For who is told later that it is too narrow.
    return image


def header(encoded: bytes) -> Image.Image:
    """What the first bytes say: format, size, EXIF; raises whatever Pillow does, as `upright`."""
    image = Image.open(io.BytesIO(encoded), formats=FORMATS)
    _check_depth(image)
    return image


def upright(image: Image.Image) -> Image.Image:
    """Its pixels, decoded if they are not yet, as `decode` gives them."""
    image.load()  # A cut-off image raises now, and not where its EXIF would be found broken.
    plain = turned(_eight_bits(image), orientation(image))
    return _without_transparent_colour(plain.convert("RGB"))


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """As it stands by that EXIF orientation."""
    return image if orientation not in TURNS else image.transpose(TURNS[orientation])


def orientation(image: Image.Image) -> int:
    """EXIF's; 1, not turned, where its EXIF is broken, which Pillow raises anything for."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        return 1
    return found if found in TURNS else 1


@contextlib.contextmanager
def telling(name: str) -> Iterator[None]:
    """AligngapError that names the record: Pillow's readers raise anything for a broken file."""
    try:
        yield
    except Exception as error:
        reason = "unknown format" if isinstance(error, UnidentifiedImageError) else error
        raise AligngapError(f"image {name or '?'} cannot be decoded ({reason})") from error


def opened(given: AnyImage) -> Image.Image:
    """An upright RGB image of a path, a PIL image or uint8 pixels [H, W] or [H, W, 1, 3 or 4]."""
    if isinstance(given, Image.Image):
        with telling(str(getattr(given, "filename", ""))):
            return upright(given)
    if isinstance(given, np.ndarray):
        return _of_pixels(given)
    if not isinstance(given, str | os.PathLike):
        kind = type(given).__name__
        raise UsageError(f"an image is a {kind}; expected a path, a PIL image or a NumPy array")
    try:
        return decode(Path(given).read_bytes(), str(given))
    except OSError as error:
        raise AligngapError(f"{given} cannot be read: {error.strerror}") from error


def is_image(given: np.ndarray) -> bool:
    """Whether these are the pixels of one image."""
    channels = given.ndim == 2 or (given.ndim == 3 and given.shape[-1] in (1, 3, 4))
    return given.dtype == np.uint8 and channels and bool(given.size)


def _of_pixels(given: np.ndarray) -> Image.Image:
    if not is_image(given):
        raise UsageError(
            f"an image is {given.dtype} {list(given.shape)}; expected uint8 [H, W, 3], or 1 or 4 "
            "channels, or [H, W]"
        )
    flat = given[..., 0] if given.shape[2:] == (1,) else given
    return Image.fromarray(flat).convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """16 bits a pixel scaled to 8: Pillow would clip, and turn nearly all of it white."""
    _check_depth(image)
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _check_depth(image: Image.Image) -> None:
    if image.mode == "F" or (image.mode == "I" and image.format not in DEEP):
        raise ValueError(
            f"its pixels are of mode {image.mode}: of floats and of 32 bits nobody knows which "
            "value is white; convert it to 8 or 16 bits"
        )


def _without_transparent_colour(image: Image.Image) -> Image.Image:
    """A palette's transparent entry, and PNG's single colour, on white: they outlive `convert`."""
    if image.info.get("transparency") is None:
        return image
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def resize(image: Image.Image, size: int) -> UInt8[np.ndarray, "R R 3"]:
    """The shorter side to `size` (bicubic), then the centre: CLIP's preprocessing.

    Pixel by pixel that of transformers' CLIPImageProcessor with Pillow. (open_clip rounds the
    crop's corner where that rounds down: its crop may lie one pixel further.)
    """
    width, height = image.size
    short = min(width, height)
    width, height = int(size * width / short), int(size * height / short)
    if width * height > LARGEST:
        name = image.info.get("name") or "?"
        raise AligngapError(
            f"image {name} of {image.width} × {image.height} pixels is too narrow: its shorter "
            f"side at {size} makes {width} × {height}; prepare's --max_aspect leaves such out"
        )
    left, top = (width - size) // 2, (height - size) // 2
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized.crop((left, top, left + size, top + size)))


def squash(image: Image.Image, size: int) -> UInt8[np.ndarray, "R R 3"]:
    """Both sides to `size` (bicubic): SigLIP's preprocessing, as in transformers with Pillow."""
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


RESIZES = {"crop": resize, "squash": squash}  # By the config's `data.resize`.
