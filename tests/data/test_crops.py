"""A crop of a JPEG is that of the fully decoded image, up to what decoding at a part of the size
leaves; of every other format it is the very same."""

import io
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import sklearn.datasets
from PIL import Image

from aligngap.data import crops, images
from aligngap.errors import AligngapError

PHOTOGRAPHS = (
    Path(sklearn.datasets.__file__).parent / "images" / "china.jpg",
    Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg",
    Path(sklearn.datasets.__file__).parent / "images" / "flower.jpg",
)
RATIO = (3 / 4, 4 / 3)


def photograph(path: Path, shape: tuple[int, int] | None = None) -> Image.Image:
    image = Image.open(path).convert("RGB")
    return image.resize(shape, Image.Resampling.LANCZOS) if shape else image


def encoded(image: Image.Image, orientation: int = 1, kind: str = "JPEG", **options) -> bytes:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x112] = orientation
    image.save(file, kind, exif=exif, **options)
    return file.getvalue()


def both(content: bytes, size: int, scale: tuple[float, float], seed: int = 0):
    """A crop from the header on, and the same of the fully decoded image."""
    return tuple(
        crops.random_crop(make(content), size, scale, RATIO, np.random.default_rng(seed))
        for make in (crops.opened, images.decode)
    )


def whole_way(content: bytes, name: str) -> np.ndarray:
    """As a row of a batch is made."""
    image = crops.opened(content, name)
    with images.telling(name):
        return crops.random_crop(image, 64, (0.9, 1.0), RATIO, np.random.default_rng(0))


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@pytest.mark.parametrize("path", PHOTOGRAPHS, ids=lambda path: path.stem)
@pytest.mark.parametrize("scale", [(0.9, 1.0), (0.3, 0.5)])
def test_close_to_the_full_decode(path, scale):
    for seed, options in enumerate([{}, {"progressive": True}, {"subsampling": 0, "quality": 95}]):
        ours, full = both(encoded(photograph(path), **options), 64, scale, seed)
        assert ours.shape == (64, 64, 3)
        assert 0 < difference(ours, full) < 3.5


@pytest.mark.parametrize("path", PHOTOGRAPHS, ids=lambda path: path.stem)
@pytest.mark.parametrize("side", [64, 224, 700])
def test_resized_as_pillow_does(path, side):
    """Up to how its vector instructions round. A box half a pixel further adds 1 to 6 levels."""
    pytest.importorskip("cykooz_resizer", reason="no wheel for this machine")
    image, box = photograph(path, (403, 267)), crops.Box(20, 10.5, 390.25, 260)
    ours = crops.resized(image, box, side)
    assert ours.shape == (side, side, 3)
    assert difference(ours, resized_by_pillow(image, box, side)) < 0.3
    for other in (box._replace(left=20.5, right=390.75), box._replace(top=11, bottom=260.5)):
        assert difference(ours, resized_by_pillow(image, other, side)) > 0.9


def resized_by_pillow(image: Image.Image, box: crops.Box, side: int) -> np.ndarray:
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC, box))


def test_where_there_is_no_wheel_pillow_resizes(monkeypatch):
    monkeypatch.setattr(crops, "resizer", None)
    image, box = photograph(PHOTOGRAPHS[1], (403, 267)), crops.Box(20, 10, 390, 260)
    ours = crops.resized(image, box, 64)
    np.testing.assert_array_equal(ours, resized_by_pillow(image, box, 64))


def test_threads_do_not_disturb_each_other():
    box = crops.Box(20, 10, 390, 260)
    pictures = [photograph(path, (403, 267)) for path in PHOTOGRAPHS] * 40
    alone = [crops.resized(picture, box, 64) for picture in pictures[:3]] * 40
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda picture: crops.resized(picture, box, 64), pictures))
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shape", [(403, 267), (275, 410)])
def test_every_orientation(orientation, shape):
    """Sides that 8 does not divide. Half a pixel of the smaller image adds 2 to 5 levels; to count
    from the wrong end adds 0.9 to 5."""
    content = encoded(photograph(PHOTOGRAPHS[0], shape), orientation, quality=95)
    pairs = [both(content, 48, (0.5, 0.8), seed) for seed in range(4)]
    assert np.mean([difference(*pair) for pair in pairs]) < 2.4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_box_is_that_of_the_upright_image(orientation, monkeypatch):
    boxes = []
    choose = crops.choose

    def noted(*arguments):
        boxes.append(choose(*arguments))
        return boxes[-1]

    monkeypatch.setattr(crops, "choose", noted)
    content = encoded(photograph(PHOTOGRAPHS[0], (403, 267)), orientation)
    for seed in range(5):
        both(content, 32, (0.2, 1.0), seed)
    assert boxes[::2] == boxes[1::2]
    assert len(set(boxes)) == 5


@pytest.mark.parametrize("size", [60, 224, 225, 400])
def test_what_cannot_be_decoded_smaller_is_the_same(size):
    """At half of 449 × 449 a crop of 224 pixels could be had, one of 225 only by enlarging."""
    content = encoded(photograph(PHOTOGRAPHS[0], (449, 449)))
    ours, full = both(content, size, (1.0, 1.0))
    assert (ours.tobytes() == full.tobytes()) == (size > 224)


@pytest.mark.parametrize("orientation", [1, 6, 7])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF"])
def test_other_formats_are_the_same_to_the_byte(kind, orientation):
    if kind == "GIF" and orientation > 1:
        return  # It has no EXIF.
    content = encoded(photograph(PHOTOGRAPHS[0], (403, 267)), orientation, kind)
    ours, full = both(content, 32, (0.3, 1.0))
    np.testing.assert_array_equal(ours, full)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_modes_of_a_jpeg(mode):
    content = encoded(photograph(PHOTOGRAPHS[1]).convert(mode), 6)
    ours, full = both(content, 64, (0.9, 1.0))
    assert 0 < difference(ours, full) < 2.0


def test_several_pictures_in_one_file_are_the_first():
    """MPO, as cameras and telephones write it."""
    first, second = photograph(PHOTOGRAPHS[0], (400, 300)), photograph(PHOTOGRAPHS[1], (400, 300))
    file = io.BytesIO()
    first.save(file, "MPO", save_all=True, append_images=[second])
    assert Image.open(file).format == "MPO"
    ours, full = both(file.getvalue(), 64, (0.9, 1.0))
    assert difference(ours, full) < 2.0
    assert difference(ours, both(encoded(first), 64, (0.9, 1.0))[0]) < 2.0


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_picture(kind):
    first, second = photograph(PHOTOGRAPHS[0], (40, 30)), photograph(PHOTOGRAPHS[1], (40, 30))
    file, still = io.BytesIO(), io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    first.save(file, kind, save_all=True, append_images=[second], **options)
    assert Image.open(file).n_frames == 2
    first.save(still, kind, **options)
    np.testing.assert_array_equal(
        np.asarray(images.decode(file.getvalue())), np.asarray(images.decode(still.getvalue()))
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
def test_an_image_that_would_fill_the_memory(kind):
    """20,000 pixels a side: as many as Pillow decodes from a file of 400 KB."""
    content = encoded(Image.new("L", (20_000, 20_000)), 1, kind)
    with pytest.raises(AligngapError, match=r"image 3 of train cannot be decoded \(.*bomb"):
        crops.opened(content, "3 of train")
    with pytest.raises(AligngapError, match="bomb"):
        images.decode(content)


def test_a_large_jpeg_is_never_decoded_whole():
    content = encoded(Image.new("RGB", (9_000, 9_000), (10, 200, 30)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = crops.opened(content)
        crop = crops.random_crop(image, 64, (0.9, 1.0), RATIO, np.random.default_rng(0))
    assert image.size == (9_000 // 8, 9_000 // 8)
    assert difference(crop, np.broadcast_to((10, 200, 30), crop.shape)) < 2


def test_a_jpeg_that_is_cut_off_is_an_error():
    content = encoded(photograph(PHOTOGRAPHS[0]))
    for end in (300, len(content) // 2, len(content) - 200):
        with pytest.raises(AligngapError, match=r"^image cut\.jpg cannot be decoded \((?!.*cut)"):
            whole_way(content[:end], "cut.jpg")
