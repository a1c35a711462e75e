"""From encoded bytes to the model's pixels: decoding, cropping, resizing, normalising."""

import io

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image

from aligngap.errors import AligngapError

CROP_ATTEMPTS = 10


def decode(encoded: bytes, name: str = "") -> Image.Image:
    """PNG, JPEG, ... bytes → an RGB image; AligngapError with the record's name if they are not."""
    try:
        return Image.open(io.BytesIO(encoded)).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise AligngapError(
            f"record {name or '?'}: its image cannot be decoded ({error})"
        ) from error


def resize(image: Image.Image, size: int) -> UInt8[np.ndarray, "R R 3"]:
    """The shorter side to `size` (bicubic), then the centre: CLIP's preprocessing."""
    width, height = image.size
    short = min(width, height)
    left, top = (width - short) / 2, (height - short) / 2
    box = (left, top, left + short, top + short)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))


def random_crop(
    image: Image.Image,
    size: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "R R 3"]:
    """RandomResizedCrop (bicubic): area share in `scale`, width by height in `ratio`."""
    width, height = image.size
    for _ in range(CROP_ATTEMPTS):
        area = rng.uniform(*scale) * width * height
        aspect = np.exp(rng.uniform(*np.log(ratio)))
        w, h = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = rng.integers(width - w + 1), rng.integers(height - h + 1)
            box = (left, top, left + w, top + h)
            return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))
    return resize(image, size)


def normalise(
    pixels: UInt8[Array, "B R R 3"], mean: tuple[float, ...], std: tuple[float, ...]
) -> Float[Array, "B R R 3"]:
    """uint8 pixels → (x/255 − mean)/std in float32; on the device: bytes travel cheaply."""
    return (pixels.astype(jnp.float32) / 255.0 - jnp.asarray(mean)) / jnp.asarray(std)
