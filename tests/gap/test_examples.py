"""Captions and pictures of pairs: each form gives the same, what is none is named by its line."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from aligngap.errors import AligngapError
from aligngap.gap import examples

ROWS = np.array([0, 2, 3])
CAPTIONS = ["a fox", "an owl", "a hen\u2028and an egg", "", "a cat"]


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 255, (5, 40, 80, 3), dtype=np.uint8)


@pytest.fixture
def listed(pixels, tmp_path):
    """A list of five files, and these."""
    (tmp_path / "images").mkdir()
    names = [f"images/{i}.png" for i in range(5)]
    for name, image in zip(names, pixels, strict=True):
        Image.fromarray(image).save(tmp_path / name)
    (tmp_path / "list.txt").write_text("\n".join(names) + "\n")
    return tmp_path / "list.txt"


def read(captions=None, pictures=None, rows=ROWS, pairs=5):
    return examples.read(captions, pictures, rows, pairs, 0)


def test_captions_of_every_form(tmp_path):
    (tmp_path / "lines.txt").write_text("\n".join(CAPTIONS), "utf-8")
    np.save(tmp_path / "one.npy", np.array(CAPTIONS))
    np.savez_compressed(tmp_path / "some.npz", a=np.array(CAPTIONS), b=np.zeros(2))
    for given in ("lines.txt", "one.npy", "some.npz:a"):
        found = read(f"{tmp_path / given}")
        assert found.captions == [CAPTIONS[i] for i in ROWS] and found.pictures is None
        np.testing.assert_array_equal(found.rows, ROWS)


def test_long_captions_are_cut(tmp_path):
    (tmp_path / "lines.txt").write_text("x" * 999)
    (caption,) = read(tmp_path / "lines.txt", rows=np.array([0]), pairs=1).captions
    assert len(caption) == examples.CAPTION and caption.endswith("x…")


def test_pictures_of_every_form(pixels, listed, tmp_path):
    np.save(tmp_path / "array.npy", pixels)
    np.savez_compressed(tmp_path / "array.npz", a=pixels, b=pixels)
    wanted = read(pictures=listed).pictures
    assert read(pictures=tmp_path / "array.npy").pictures == wanted
    assert read(pictures=f"{tmp_path / 'array.npz'}:a").pictures == wanted
    for picture, row in zip(wanted, ROWS, strict=True):
        image = Image.open(io.BytesIO(picture))
        assert (image.format, image.size) == ("WEBP", (64, 32))
        mean = np.asarray(image.convert("RGB"), float).mean(axis=(0, 1))
        np.testing.assert_allclose(mean, pixels[row].mean(axis=(0, 1)), atol=4)


@pytest.mark.parametrize(("channels", "mode"), [((), "RGB"), ((1,), "RGB"), ((4,), "RGBA")])
def test_other_channels(tmp_path, channels, mode):
    array = np.full((5, 20, 20, *channels), 100, np.uint8)
    np.save(tmp_path / "array.npy", array)
    image = Image.open(io.BytesIO(read(pictures=tmp_path / "array.npy").pictures[0]))
    assert (image.mode, image.size) == (mode, (20, 20))


def test_only_the_shown_are_opened(listed, tmp_path):
    (tmp_path / "images" / "1.png").unlink()
    (tmp_path / "images" / "4.png").write_bytes(b"no picture")
    assert len(read(pictures=listed).pictures) == 3


def broken(path):
    path.write_bytes(b"no picture")


def truncated(path):
    path.write_bytes(path.read_bytes()[:2000])


def undecodable(path):
    """At which AVIF's reader raises an error of its own."""
    written = io.BytesIO()
    Image.effect_noise((64, 64), 99).convert("RGB").save(written, "AVIF")
    header, name, pixels = written.getvalue().partition(b"mdat")
    path.write_bytes(header + name + bytes(len(pixels)))


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def postscript(path):
    """Pillow would hand it to Ghostscript."""
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")


@pytest.mark.parametrize("change", [os.unlink, broken, truncated, undecodable, pipe, postscript])
def test_a_file_that_is_no_picture_is_named(listed, tmp_path, change):
    change(tmp_path / "images" / "2.png")
    with pytest.raises(
        AligngapError, match=r"list\.txt line 3: .*2\.png is no picture \("
    ) as found:
        read(pictures=listed)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((5, 4, 4, 3)), r"uint8; found float64 \[5, 4, 4, 3\]"),
        (np.zeros((5, 4, 4, 2), np.uint8), r"uint8; found uint8 \[5, 4, 4, 2\]"),
        (np.zeros((4, 4, 4, 3), np.uint8), "holds 4 pictures for 5 pairs; expected one each"),
    ],
)
def test_arrays_that_are_no_pictures(tmp_path, array, words):
    np.save(tmp_path / "array.npy", array)
    with pytest.raises(AligngapError, match=words):
        read(pictures=tmp_path / "array.npy")


def test_captions_that_are_none(tmp_path):
    (tmp_path / "few.txt").write_text("a\nb\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\n" * 5)
    np.save(tmp_path / "numbers.npy", np.arange(5))
    for name, words in (
        ("few.txt", "holds 2 captions for 5 pairs; expected one each"),
        ("bytes.txt", "not a readable text file of captions"),
        ("numbers.npy", r"expected captions \[N\], strings; found int64 \[5\]"),
        ("none.txt", "not a readable text file of captions"),
    ):
        with pytest.raises(AligngapError, match=words):
            read(tmp_path / name)
