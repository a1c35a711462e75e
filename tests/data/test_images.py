"""Evaluation's pixels are those of transformers' image processor for the same file."""

import io
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import sklearn.datasets
from PIL import Image

from aligngap.config import default
from aligngap.data import corpora, crops, images
from aligngap.data.sources import examine
from aligngap.data.sources.raw import LeftOut
from aligngap.errors import AligngapError
from aligngap.models import towers

PHOTOGRAPHS = (
    Path(sklearn.datasets.__file__).parent / "images" / "china.jpg",
    Path(sklearn.datasets.__file__).parent / "images" / "flower.jpg",
    Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg",
)
SIZES = (32, 33, 224)
# Width and height: odd, even, square, smaller than the size, and strips of one pixel.
SHAPES = [(640, 427), (333, 500), (97, 61), (20, 31), (31, 20), (7, 7), (225, 224), (224, 226)]
SHAPES += [(1, 40), (60, 1), (1, 1), (2, 301)]
MODES = ("L", "LA", "P", "1", "CMYK", "YCbCr", "RGBA")


def reference(path: Path, size: int) -> dict[str, np.ndarray]:
    """What transformers makes of a file, before it rescales and normalises, by `data.resize`."""
    from transformers import CLIPImageProcessorPil, SiglipImageProcessorPil

    square, plain = {"height": size, "width": size}, {"do_rescale": False, "do_normalize": False}
    crop = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size=square, **plain)
    found = {"crop": crop, "squash": SiglipImageProcessorPil(size=square, **plain)}
    return {
        name: np.moveaxis(np.asarray(processor(str(path))["pixel_values"][0]), 0, -1)
        for name, processor in found.items()
    }


def ours(path: Path, size: int, how: str = "crop") -> np.ndarray:
    return images.RESIZES[how](images.decode(path.read_bytes()), size)


def assert_same(path: Path) -> None:
    for size in SIZES:
        wanted = reference(path, size)
        assert wanted.keys() == images.RESIZES.keys()
        for how, pixels in wanted.items():
            np.testing.assert_array_equal(ours(path, size, how), pixels, err_msg=f"{path}, {how}")


@pytest.mark.parametrize("path", PHOTOGRAPHS, ids=lambda path: path.stem)
def test_photographs_of_many_shapes(path, tmp_path):
    assert_same(path)
    for width, height in SHAPES:
        file = tmp_path / f"{width}x{height}.png"
        Image.open(path).resize((width, height)).save(file)
        assert_same(file)


@pytest.mark.parametrize("mode", MODES)
def test_modes(mode, tmp_path):
    image = Image.open(PHOTOGRAPHS[0])
    file = tmp_path / f"image.{'png' if 'A' in mode or mode == 'P' else 'tiff'}"
    image = image.convert(mode)
    if "A" in mode:
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(file, **({"transparency": 3} if mode == "P" else {}))
    assert_same(file)


@pytest.mark.parametrize("name", ["deep.png", "deep.tiff", "deep.pgm"])
def test_sixteen_bits_a_pixel_are_scaled(name, tmp_path):
    """Where transformers clips: what it makes of such a file is white. Also of a PIL image."""
    grey = Image.open(PHOTOGRAPHS[0]).convert("L")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(tmp_path / name)
    for given in (tmp_path / name, Image.open(tmp_path / name)):
        found = images.opened(given)
        np.testing.assert_array_equal(np.asarray(found), np.asarray(grey.convert("RGB")))


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_whose_white_nobody_knows(dtype, tmp_path):
    file = tmp_path / "deep.tiff"
    Image.fromarray(np.zeros((4, 4), dtype)).save(file)
    for given in (file, Image.open(file)):
        with pytest.raises(AligngapError, match=r"deep\.tiff cannot be decoded .*8 or 16 bits"):
            images.opened(given)
    with pytest.raises(LeftOut, match="8 or 16 bits"):
        examine.size_of(file.read_bytes(), "header")


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_a_broken_exif_turns_nothing(form):
    """Nor does training on it, or preparing it, fail."""
    image, written = Image.open(PHOTOGRAPHS[0]), io.BytesIO()
    image.save(written, form, exif=b"Exif\0\0garbage", lossless=True)
    content = written.getvalue()
    examine.size_of(content, "decode")
    for found in (images.decode(content), crops.opened(content)):
        np.testing.assert_array_equal(np.asarray(found), np.asarray(image))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x112] = orientation
    file = tmp_path / "turned.jpg"
    Image.open(PHOTOGRAPHS[2]).save(file, exif=exif)
    assert_same(file)
    if orientation == 6:
        plain = images.resize(Image.open(file).convert("RGB"), 32)
        assert (plain != ours(file, 32)).any()


def test_normalised_as_transformers_up_to_rounding(tmp_path):
    from transformers import CLIPImageProcessorPil

    data = default().data
    wanted = np.asarray(CLIPImageProcessorPil()(str(PHOTOGRAPHS[0]))["pixel_values"])
    found = towers.normalise(ours(PHOTOGRAPHS[0], 224)[None], data.mean, data.std)
    np.testing.assert_allclose(np.moveaxis(np.asarray(found), -1, 1), wanted, atol=1e-6)


@pytest.mark.corpus
def test_square_images_are_resized_whole(pictograms_dir):
    """As training's decoder does it: of a square the centre is everything."""
    config = default()
    config.data.data_dir = str(pictograms_dir)
    source = corpora.of(config).open("test_unseen_both")
    for row in range(0, len(source), 5):
        image = images.decode(source[row].image)
        whole = np.asarray(image.resize((32, 32), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(images.resize(image, 32), whole)


@pytest.mark.parametrize(
    "content",
    [b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\x89PNG\r\n\x1a\n"],
)
def test_what_is_no_image(content):
    with pytest.raises(AligngapError, match=r"image some\.png cannot be decoded"):
        images.decode(content, "some.png")


def test_cut_off_files_are_no_image():
    content = PHOTOGRAPHS[0].read_bytes()
    for end in (10, 200, len(content) // 2):
        with pytest.raises(AligngapError, match="cannot be decoded"):
            images.decode(content[:end], "cut.jpg")


def test_a_strip_that_would_fill_the_memory():
    written = io.BytesIO()
    Image.new("RGB", (1, 9000)).save(written, "PNG")
    with pytest.raises(AligngapError, match=r"image 7 of val of 1 × 9000 pixels .*--max_aspect"):
        images.resize(images.decode(written.getvalue(), "7 of val"), 224)
