"""The page of `aligngap gap`: its numbers those of gap.json, and every measure explained."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from aligngap import gap
from aligngap.errors import AligngapError
from aligngap.gap import clouds, files
from aligngap.reporting import figures, words
from aligngap.reporting.gap_page import page as gap_page

ATTACK = "<img src=x onerror=alert(1)>\"'.npy"
ARGUMENTS = ["gap", "--image=image.npy", "--text=my text.npy", "--output=out"]


class Page(HTMLParser):
    """Collects tags, attributes, and the words of table rows."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.attributes, self.rows, self._in_cell = [], [], [], False
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data):
        if self._in_cell:
            self.rows[-1][-1] += data


def measured(folder, pairs=40, width=6, image="image.npy", text="text.npy", **options):
    random = np.random.default_rng(0)
    rows = random.normal(size=(pairs, width)).astype(np.float32)
    np.save(folder / image, rows + 1)
    np.save(folder / text, rows - 1)
    return files.measure(folder / image, folder / text, folder / "out", **options)


def static(source):
    """The page without its scripts: what they do, test_gap_map.py sees in a browser."""
    return re.sub(r"<script.*?</script>", "", source, flags=re.DOTALL)


def built(found, folder):
    gap_page.build(found, ARGUMENTS, folder / "out" / "report.html")
    return (folder / "out" / "report.html").read_text("utf-8")


def test_every_measure_is_explained():
    rows = np.eye(4, dtype=np.float32)
    assert gap_page.MEANINGS.keys() == gap.summary(rows, rows).keys()
    assert gap_page.MEANINGS.keys() <= words.MEASURES.keys()


@pytest.mark.parametrize(
    ("measure", "low", "high"),
    [("cross_uniformity", -8, 0), ("uniformity_image", -4, 0), ("relative_modality_gap", 0, 1)],
)
def test_the_ranges_that_the_page_states_are_reached(measure, low, high):
    """Clouds of one point, and clouds as the sentence of the other end describes them."""
    point = np.tile(np.eye(2, dtype=np.float32)[0], (8, 1))
    directions = np.eye(4096, dtype=np.float32)[:8]
    ends = {
        "cross_uniformity": (
            gap.cross_uniformity(point, -point),
            gap.cross_uniformity(point, point),
        ),
        "uniformity_image": (gap.uniformity(directions), gap.uniformity(point)),
        "relative_modality_gap": (
            gap.relative_modality_gap(directions, directions),
            gap.relative_modality_gap(point, -point),
        ),
    }
    assert [float(x) for x in ends[measure]] == pytest.approx([low, high], abs=1e-5)


def test_the_numbers_are_those_of_the_json(tmp_path):
    rows = Page(built(measured(tmp_path), tmp_path)).rows
    written = json.loads((tmp_path / "out" / "gap.json").read_text())["measures"]
    for name, meaning in gap_page.MEANINGS.items():
        row = next(row for row in rows if row[0].startswith(words.MEASURES[name][0]))
        value, low, high = (
            f"{round(written[name][key], 3) + 0.0:.3f}".replace("-", "−")
            for key in ("value", "low", "high")
        )
        assert row[1:] == [f"{value} {low} to {high}"]
        assert meaning.sentence in row[0] and meaning.paper in row[0]


def test_size_files_command_and_versions_are_stated(tmp_path):
    source = built(measured(tmp_path), tmp_path)
    words = html.unescape(source)
    for part in (
        "Measured on 40 pairs",
        "in 6 dimensions",
        f"images: <code>{tmp_path / 'image.npy'}</code>",
        f"captions: <code>{tmp_path / 'text.npy'}</code>",
        "aligngap gap --image=image.npy '--text=my text.npy' --output=out",
        f"numpy {np.__version__}",
    ):
        assert part in words
    assert "drawn at random" not in words
    assert static(source).count("<svg") == 2


def test_the_page_asks_for_nothing_outside(tmp_path):
    source = static(built(measured(tmp_path), tmp_path))
    assert "://" not in source and "@import" not in source
    page = Page(source)
    assert not {"script", "iframe"} & set(page.tags) and page.tags.count("img") == 1
    ids = {f"#{value}" for name, value in page.attributes if name == "id"}
    for name, value in page.attributes:
        if name in ("src", "href", "xlink:href"):
            assert value == "data:," or value in ids
    assert all(target in ids for target in re.findall(r"url\(([^)]*)", source))
    assert "default-src 'none'" in html.unescape(source)


@pytest.mark.parametrize("name", [ATTACK, "$x$ \udcff.npy"])
def test_a_strange_file_name_is_only_text(tmp_path, name):
    """The second has a byte that is no UTF-8, as Linux allows."""
    page = Page(static(built(measured(tmp_path, image=name), tmp_path)))
    assert page.tags.count("img") == 1, "that of the map's tooltip"
    shown = name.encode("utf-8", "replace").decode()
    assert any(shown in cell for row in page.rows for cell in row)


def test_of_many_pairs_a_stated_sample_is_drawn(tmp_path, monkeypatch):
    found = measured(tmp_path)
    monkeypatch.setattr(gap_page, "MAX_PAIRS", 30)
    monkeypatch.setattr(figures, "MAX_POINTS", 20)
    monkeypatch.setattr(figures, "MAX_LINKS", 5)
    monkeypatch.setattr(figures, "MAX_COSINES", 300)
    source = built(found, tmp_path)
    assert "30 of the 40 pairs, drawn at random (seeded)" in source
    assert "20 pairs, drawn at random (seeded), with grey lines joining 5 of them" in source
    assert "290 cosines, of images drawn at random" in source
    assert "Measured on 40 pairs" in source
    # Every mark is a <use>: 20 points of each modality, and ticks, of which there are fewer.
    assert 40 <= source.split("</svg>")[0].count("fill-opacity: 0.6") <= 42
    assert static(built(found, tmp_path)) == static(source), "the sample is the same again"


def test_measures_of_a_sample_are_marked(tmp_path):
    found = measured(tmp_path, exact_pairs=30)
    source = built(found, tmp_path)
    assert "* Measured on 30 pairs drawn at random (seeded)" in source
    assert "30 of the 40 pairs, drawn at random (seeded)" in source
    assert "Measured on 40 pairs" in source
    marked = {row[0]: row[1].endswith("*") for row in Page(source).rows if len(row) > 1}
    for name, meaning in gap_page.MEANINGS.items():
        row = next(row for row in marked if meaning.sentence in row and meaning.formula in row)
        assert marked[row] == (name in clouds.sampled_measures(gap_page.MEANINGS)), name


def test_labels_are_listed_and_are_only_text(tmp_path, monkeypatch):
    monkeypatch.setattr(gap_page, "MAX_LABELS", 2)
    path = tmp_path / "labels.txt"
    path.write_text("\n".join(["one"] * 20 + [ATTACK] * 15 + ["few"] * 5))
    source = built(measured(tmp_path, labels=path), tmp_path)
    page = Page(source)
    written = json.loads((tmp_path / "out" / "gap.json").read_text())["labels"]
    rows = {row[0]: row[1:] for row in page.rows}
    assert page.tags.count("img") == 1 and "few" not in rows
    assert "1 more are in gap.json" in source
    for label in ("one", ATTACK):
        entry = written[label]
        numbers = (f"{entry[name]:.3f}" for name in ("centroid_distance", "alignment_score"))
        assert rows[label] == [str(entry["pairs"]), *(x.replace("-", "−") for x in numbers)]


def test_lines_end_on_points_that_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "MAX_POINTS", 3)
    monkeypatch.setattr(figures, "MAX_LINKS", 2)
    picture = built(measured(tmp_path), tmp_path).split("</svg>")[0]
    points = re.findall(
        r'<use xlink:href="#[^"]*" x="([\d.]+)" y="([\d.]+)" style="[^"]*0\.6', picture
    )
    lines = re.findall(
        r'd="M ([\d.]+) ([\d.]+) *\n? *L ([\d.]+) ([\d.]+) *\n?"[^>]*stroke-opacity: 0\.55', picture
    )
    assert len(points) == 6 and len(lines) == 2
    for line in lines:
        assert {line[:2], line[2:]} <= set(points)


@pytest.mark.parametrize(("pairs", "width"), [(2, 2), (2, 9), (3, 2)])
def test_the_smallest_clouds_have_a_page(tmp_path, pairs, width):
    assert static(built(measured(tmp_path, pairs, width), tmp_path)).count("<svg") == 2


def test_collapsed_clouds_have_a_page(tmp_path):
    """Five rows that differ by less than anything shows; rows that are equal are one item."""
    path, point = tmp_path / "point.npy", np.tile([0.6, 0.8, 0.0], (5, 1))
    np.save(path, point + 1e-6 * np.arange(5)[:, None] * [0.8, -0.6, 0.0])
    source = built(files.measure(path, path, tmp_path / "out"), tmp_path)
    assert "The modality gap is 0.000" in source
    np.save(path, point)
    with pytest.raises(AligngapError, match="expected at least two that share none"):
        files.measure(path, path, tmp_path / "out")


def test_an_unwritable_page_is_named(tmp_path):
    found = measured(tmp_path)
    (tmp_path / "out" / "report.html").mkdir()
    with pytest.raises(AligngapError, match=r"report\.html cannot be written"):
        gap_page.build(found, ARGUMENTS, Path(tmp_path / "out" / "report.html"))


def test_the_map_asks_for_what_it_was_not_given(tmp_path):
    (tmp_path / "captions.txt").write_text("a cat\n" * 40)
    found = measured(tmp_path, captions=tmp_path / "captions.txt")
    text = built(found, tmp_path)
    assert "With <code>--pictures</code> it shows those, too." in text
    assert "<code>--captions" not in static(text)
