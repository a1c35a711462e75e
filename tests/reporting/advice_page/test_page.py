"""`aligngap gap advise`'s page in a browser: its pictures are read as easily as its text."""

import numpy as np
import pytest

from aligngap import cli

SIZES = """() => [...document.querySelectorAll("svg.figure text")].map(text => {
    const at = text.getScreenCTM();  // Names of upright axes are turned.
    return parseFloat(getComputedStyle(text).fontSize) * Math.hypot(at.a, at.b);
})"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("advice"), np.random.default_rng(0)
    both = random.normal(size=(80, 8))
    for name, side in (("image", 1.0), ("text", -1.0)):
        np.save(folder / f"{name}.npy", both + side + 0.3 * random.normal(size=both.shape))
    files = [f"--{name}={folder / name}.npy" for name in ("image", "text")]
    assert cli.main(["gap", "advise", *files, f"--output={folder / 'out'}"]) == 0
    return folder / "out" / "report.html"


@pytest.mark.parametrize(("width", "least"), [(1280, 12), (768, 12), (390, 10)])
def test_words_in_pictures_are_about_as_large_as_others(page, visit, width, least):
    sizes = visit(page, width).evaluate(SIZES)
    assert len(sizes) > 40
    assert least <= min(sizes) and max(sizes) <= 17
