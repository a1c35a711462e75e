"""Random crops for training, of images that are decoded no finer than the crop needs.

libjpeg decodes at 1/2, 1/4 and 1/8 of the size from fewer DCT coefficients, in part of the time,
and what it gives is quicker to resize. Other formats are decoded whole. What then takes longest is
resizing, for which cykooz_resizer has the vector instructions of x86 and ARM that Pillow lacks.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from aligngap.data import images

try:
    import cykooz_resizer as resizer
except ImportError:  # There is no wheel for ARM under Linux: Pillow, which takes longer.
    resizer = None

ATTEMPTS = 10
SCALES = (8, 4, 2, 1)  # libjpeg's divisors that Pillow knows.
# EXIF orientations whose upright image has sides swapped, or counts an axis from the other end.
SWAPPED, FROM_RIGHT, FROM_BELOW = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)


class Box(NamedTuple):
    """A part of an upright image, in pixels."""

    left: float
    top: float
    right: float
    bottom: float


def opened(encoded: bytes, name: str = "") -> Image.Image:
    """A JPEG's header, for `random_crop` to decode once; another image decoded as `decode` does."""
    with images.telling(name):
        image = images.header(encoded)
        return image if isinstance(image, JpegImageFile) else images.upright(image)


def random_crop(
    image: Image.Image,
    size: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "R R 3"]:
    """RandomResizedCrop (bicubic) of what `opened` or `decode` gave: area share in `scale`, width
    by height in `ratio`, of the image upright and at its full size."""
    return resized(*part(image, size, scale, ratio, rng), size)


def part(
    image: Image.Image,
    size: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[Image.Image, Box]:
    """What `random_crop` resizes: the decoded image, at its size or a part of it, and the box."""
    if not isinstance(image, JpegImageFile):
        return image, choose(image.size, scale, ratio, rng)
    orientation = images.orientation(image)
    width, height = image.size
    whole = (height, width) if orientation in SWAPPED else (width, height)
    box = choose(whole, scale, ratio, rng)
    drafted = _draft(image, min(box.right - box.left, box.bottom - box.top) / size)
    image.load()
    plain = image.mode == "RGB" and orientation == 1  # Then `upright` would but copy it.
    decoded = image if plain else images.upright(image)
    return decoded, _scaled(box, whole, decoded.size, drafted, orientation)


def resized(image: Image.Image, box: Box, size: int) -> UInt8[np.ndarray, "R R 3"]:
    """A part of a decoded image at another size (bicubic)."""
    if resizer is None:
        return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))
    width, height = box.right - box.left, box.bottom - box.top
    options = resizer.ResizeOptions(
        resizer.ResizeAlg.convolution(resizer.FilterType.catmull_rom),
        crop_box=resizer.CropBox(box.left, box.top, width, height),
    )
    found = Image.new("RGB", (size, size))
    # One for each image: it is made in a microsecond, and a common one serves a thread at a time.
    resizer.Resizer().resize_pil(image, found, options)
    return np.asarray(found)


def choose(
    whole: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    rng: np.random.Generator,
) -> Box:
    """A random part of an image of that width and height; its central square where none fits."""
    width, height = whole
    for _ in range(ATTEMPTS):
        area = rng.uniform(*scale) * width * height
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return Box(x, y, x + w, y + h)
    short = min(width, height)
    left, top = (width - short) / 2, (height - short) / 2
    return Box(left, top, left + short, top + short)


def _draft(image: JpegImageFile, enough: float) -> int:
    """Has it decoded at 1/n of its size, n the largest divisor up to `enough`; returns n."""
    wanted = next((n for n in SCALES if n <= enough), 1)
    width, height = image.size
    drafted = image.draft("RGB", (width // wanted, height // wanted))
    return wanted if drafted and image.size != (width, height) else 1


def _scaled(
    box: Box, whole: tuple[int, int], decoded: tuple[int, int], n: int, orientation: int
) -> Box:
    """A box of the whole image in the one decoded at 1/n.

    The file's last column and row are there a part of a pixel, which a turned image begins with.
    """
    x = decoded[0] - whole[0] / n if orientation in FROM_RIGHT else 0.0
    y = decoded[1] - whole[1] / n if orientation in FROM_BELOW else 0.0
    return Box(box.left / n + x, box.top / n + y, box.right / n + x, box.bottom / n + y)
