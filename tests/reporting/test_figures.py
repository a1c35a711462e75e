"""What the pictures are drawn from, and that they are safe to put into a page."""

import re

import numpy as np
import pytest

from aligngap.reporting import figures


def clouds(images=50, captions=9, width=6, offset=0.0):
    random = np.random.default_rng(0)
    text = random.normal(size=(captions, width))
    concept = np.arange(images) % captions
    image = text[concept] + 0.3 * random.normal(size=(images, width))
    text[:, 0] += offset
    return [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (image, text)] + [concept]


def test_projection_matches_a_singular_value_decomposition():
    image, text, concept = clouds()
    found = figures.project(image, text, concept)
    rows = np.concatenate([image, text[concept]])
    rows = rows - rows.mean(axis=0)
    values = np.linalg.svd(rows, compute_uv=False) ** 2
    assert found.shares == pytest.approx(values[:2] / values.sum())
    spread = np.concatenate([found.image, found.text[concept]]).var(axis=0)
    assert spread == pytest.approx(values[:2] / len(rows))


def test_captions_lie_to_the_right_of_images():
    image, text, concept = clouds(offset=8.0)
    found = figures.project(image, text, concept)
    assert found.text[:, 0].mean() > found.image[:, 0].mean()


def test_a_collapsed_cloud_is_drawn_without_error():
    image, text = np.ones((5, 4)) / 2, np.ones((3, 4)) / 2
    found = figures.project(image, text, np.array([0, 1, 2, 0, 1]))
    assert found.shares == pytest.approx((0, 0), abs=1e-6)
    assert "<svg" in figures.cloud(found, np.array([0, 1, 2, 0, 1]), 1.0)


def test_one_scale_holds_every_point():
    found = [figures.project(*clouds(offset=offset)) for offset in (0.0, 5.0)]
    half = figures.reach(found)
    assert all(np.abs(p).max() < half for one in found for p in (one.image, one.text))


def test_cosines_are_parted_into_pairs_and_negatives():
    image, text, concept = clouds(images=7, captions=3)
    paired, unpaired = figures.cosines(image, text, concept, np.arange(len(text)))
    every = [[float(v @ t) for t in text] for v in image]
    assert paired == pytest.approx([every[i][c] for i, c in enumerate(concept)])
    others = [every[i][j] for i in range(7) for j in range(3) if j != concept[i]]
    assert unpaired == pytest.approx(others)


def test_cosines_of_many_pairs_are_sampled(monkeypatch):
    monkeypatch.setattr(figures, "MAX_COSINES", 30)
    paired, unpaired = figures.cosines(*clouds(images=40, captions=10), np.arange(10))
    assert len(paired) == 40 and len(unpaired) == 3 * 9


def test_histogram_heights_are_percent():
    heights = figures.histogram_heights(np.array([0.1, 0.1, 0.9, 0.4]), np.linspace(0, 1, 3))
    assert heights.tolist() == [75, 25]


def test_running_mean_is_centred():
    found = figures._running_mean(np.array([0.0, 3.0, 6.0, 3.0]), 2)
    assert found == pytest.approx([1.5, 3, 4, 4.5])


def every_figure():
    image, text, concept = clouds()
    steps = np.arange(200.0)
    rows = [figures.Comparison("<b>$x$"), figures.Comparison("R@1", 0.1, [(0.2, 0.1, 0.3)])]
    yield figures.cloud(figures.project(image, text, concept), concept, 1.0)
    yield figures.histogram(
        *figures.cosines(image, text, concept, np.arange(len(text))), np.linspace(-1, 1, 9), 50, 0
    )
    yield figures.curves([(steps, steps), None, (steps[:5], steps[:5])], "<b>$x$", True)
    yield figures.intervals(rows, 40)


def test_pictures_fit_a_page():
    ids = []
    for svg in every_figure():
        assert svg.startswith('<svg class="figure" viewBox=') and svg.endswith("</svg>")
        assert "<b>" not in svg, "words are escaped"
        assert "http" not in svg and "<style" not in svg and "font-family" not in svg
        assert re.findall(r"#[0-9a-f]{6}\b", svg) == [], "every colour follows the theme"
        ids += re.findall(r' id="([^"]+)"', svg)
        for target in re.findall(r'(?:xlink:href="|url\()#([^")]+)', svg):
            assert f'id="{target}"' in svg
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("count", [2, 3, 4, 12])
def test_markers_of_runs_that_are_equal_stand_side_by_side(count):
    rows = [figures.Comparison("R@1", 0.1, [(0.5, 0.4, 0.6)] * count)] * 2
    for svg in figures.intervals(rows, 100), figures.differences(rows):
        heights = sorted(
            float(y) for y in re.findall(r'<use [^>]*y="([.\d]+)" style="fill: var', svg)
        )
        assert len(heights) == 2 * count
        assert np.diff(heights).min() >= 3.5, "a marker is 4 points high"


def test_dollar_signs_are_no_mathematics():
    assert "&lt;b&gt;$x$</text>" in list(every_figure())[2]


def test_the_same_numbers_give_the_same_picture():
    assert list(every_figure()) == list(every_figure())


def test_differences_are_in_the_unit_of_the_tables():
    svg = figures.differences([figures.Comparison("mean", None, [(0.465, 0.4, 0.53)])])
    ticks = [float(x) for x in re.findall(r">(\d[.\d]*)</text>", svg)]
    assert ticks and max(ticks) < 1


def test_bands_have_a_line_and_a_band_a_run():
    rows = [(share, 0.5 - share / 4, 0.4, 0.6) for share in (0.0, 0.5, 1.0)]
    svg = figures.bands([rows, None, rows], 0.1, ("share", "NDCG@10"))
    for colour in ("run0", "run2"):
        assert re.search(rf"fill: var\(--{colour}\); fill-opacity: 0.18", svg), colour
        assert re.search(rf"stroke: var\(--{colour}\)", svg), colour
    assert "var(--run1)" not in svg
    assert "NDCG@10" in svg
