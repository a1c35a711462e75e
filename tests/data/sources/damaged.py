"""Images as they go wrong, and rare ones that are right."""

import io

import numpy as np
from PIL import Image

from aligngap.data import images


def encoded(image: Image.Image, form: str, **options) -> bytes:
    """An image in a format of Pillow's."""
    written = io.BytesIO()
    image.save(written, form, **options)
    return written.getvalue()


def readable(given: bytes) -> dict[str, bytes]:
    """Rare, but images: they stay."""
    picture = images.decode(given)
    noise = np.random.default_rng(0).integers(0, 2**16, (40, 40), np.uint16)
    frames = [picture, picture.rotate(90)]
    return {
        "cmyk.jpg": encoded(picture.convert("CMYK"), "JPEG"),
        "deep.png": encoded(Image.fromarray(noise), "PNG"),
        "moving.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "moving.webp": encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "long.png": encoded(Image.new("L", (20_000, 40)), "PNG"),
    }


def broken(given: bytes) -> dict[str, tuple[bytes, str]]:
    """(content, the reason to be counted); the headers of those called "cut" are whole."""
    large = images.decode(given).resize((256, 256))
    bomb = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    return {
        "cut.jpg": (encoded(large, "JPEG")[:3000], "image cannot be decoded"),
        "cut.png": (encoded(large, "PNG")[:3000], "image cannot be decoded"),
        "cut.gif": (encoded(large, "GIF")[:3000], "image cannot be decoded"),
        "nothing.jpg": (b"", "image cannot be decoded"),
        "text.jpg": (b"<html>not found</html>", "image cannot be decoded"),
        "bomb.png": (bomb, "image is too large to decode"),
    }  # fmt: skip
