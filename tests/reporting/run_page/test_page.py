"""The page: complete in one file, safe whatever captions say, its numbers those of the JSON."""

import base64
import html
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from aligngap import atomic
from aligngap.cli import main
from aligngap.errors import AligngapError
from aligngap.reporting.run_page import page
from aligngap.runs.board import Board

ATTACK = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Collects tags, attributes and table rows, and fails on tags that do not nest."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.attributes, self.rows, self._open = [], [], [], []
        self.feed(source)
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attributes]
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attributes]

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data


def built(workdirs, tmp_path):
    page.build(workdirs, tmp_path / "deep" / "report.html")
    return (tmp_path / "deep" / "report.html").read_text("utf-8")


def test_the_numbers_of_the_table_are_those_of_the_json(pair, tmp_path):
    rows = [[" ".join(cell.split()) for cell in row] for row in Page(built(pair, tmp_path)).rows]
    assert ["image → text R@10", "19.6 14.6 to 24.6", "14.5 9.5 to 19.5", "3.2"] in rows
    assert ["text → image R@1", "4.9 −0.1 to 9.9", "3.6 −1.4 to 8.6", "3.2"] in rows
    assert ["top-1 accuracy", "43.1 38.1 to 48.1", "43.1 38.1 to 48.1", "12.5"] in rows
    gap = next(row for row in rows if row[0].startswith("Gap: distance"))
    assert gap[1:] == ["0.512 0.462 to 0.562 before 1.250", "0.162 0.112 to 0.212 before 1.250", ""]
    half = ["NDCG@10, half of them images", "14.7 9.7 to 19.7", "10.9 5.9 to 15.9", "0.4"]
    assert half in rows
    assert ["a new measure", "0.700 0.650 to 0.750", "0.700 0.650 to 0.750", ""] in rows


def test_headings_promise_no_beginning_that_is_not_there(pair, tmp_path):
    words = "Gap after training, and before", "The embeddings, before and after training"
    source = built(pair, tmp_path)
    assert all(heading in source for heading in words)
    for workdir in pair:
        found = json.loads((workdir / "evaluation.json").read_text())
        (workdir / "evaluation.json").write_text(json.dumps(found | {"before": {}}))
        arrays = np.load(workdir / "embeddings.npz")
        kept = {name: arrays[name] for name in arrays if "initial" not in name}
        np.savez(workdir / "embeddings.npz", **kept)
    assert "before" not in " ".join(re.findall(r"<h2>[^<]*|<th[^>]*>[^<]*", built(pair, tmp_path)))


def test_the_page_asks_for_nothing_outside(pair, tmp_path):
    source = built(pair, tmp_path)
    assert "://" not in source and "@import" not in source
    for tag, name, value in Page(source).attributes:
        if name in ("src", "href", "xlink:href", "srcset", "data", "action"):
            assert value.startswith(("#", "data:")), f"<{tag} {name}={value[:40]}>"
    assert all(target.startswith(("#", "data:")) for target in re.findall(r"url\(([^)]*)", source))
    assert "default-src 'none'" in html.unescape(source)


def test_mixed_search_is_a_curve_a_run(pair, tmp_path):
    """On every split, beside retrieval; where no run was searched, the page is silent about it."""
    source = built(pair, tmp_path)
    assert source.count("NDCG@10 against the share of images") == 3
    assert "mixed search, NDCG@10 at half images" in source
    assert "recall@1" not in source
    for workdir in pair:
        file = workdir / "evaluation.json"
        evaluation = json.loads(file.read_text())
        for split in evaluation["splits"].values():
            split["search"] = {} if workdir == pair[0] else split["search"]
        file.write_text(json.dumps(evaluation))
    assert built(pair, tmp_path).count("NDCG@10 against the share of images") == 3
    assert "Mixed search" not in built(pair[:1], tmp_path)


def test_inner_links_lead_somewhere(pair, tmp_path):
    attributes = Page(built(pair, tmp_path)).attributes
    ids = {value for _, name, value in attributes if name == "id"}
    links = {value[1:] for tag, name, value in attributes if tag == "a" and name == "href"}
    assert links and links <= ids


def test_what_strangers_wrote_is_only_text(make_run, tmp_path):
    workdirs = [make_run(tmp_path / "a", ATTACK[:35], captions=[ATTACK] * 12)]
    source = built(workdirs, tmp_path)
    page = Page(source)
    assert "script" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert html.escape(ATTACK).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in source


def test_the_gallery_shows_ranks_and_marks_the_right_caption(pair, tmp_path):
    source = built(pair[:1], tmp_path)
    with np.load(pair[0] / "embeddings.npz") as arrays:
        scores = arrays["test_unseen_concept/trained/image"] @ (
            arrays["test_unseen_concept/trained/text"].T
        )
    cards = re.findall(r'<article class="card">.*?</article>', source, re.DOTALL)[:3]
    for row, card in zip((0, 3, 13), cards, strict=True):
        right = row % 12
        rank = 1 + int((scores[row] > scores[row, right]).sum())
        items = re.findall(r"<li.*?</li>", card, re.DOTALL)
        marked = [item for item in items if "✓" in item]
        assert len(items) == max(3, min(rank, 4)) and len(marked) == 1
        assert f"<span>{rank}</span>" in marked[0]
        assert f"thing number {right}&nbsp;" in marked[0]
        assert f"<span>{scores[row, right]:.2f}".replace("-", "−") in marked[0]
        best = int(scores[row].argmax())
        assert f"thing number {best}" in items[0]


def test_thumbnails_are_the_given_pixels(pair, tmp_path):
    picture = re.search(r'src="data:image/png;base64,([^"]+)"', built(pair, tmp_path))
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture[1]))))
    with np.load(pair[0] / "embeddings.npz") as arrays:
        np.testing.assert_array_equal(found, arrays["test_unseen_concept/pair_picture"][0])


def test_commands_seed_versions_and_differences_are_stated(pair, tmp_path):
    source = built(pair, tmp_path)
    for words in (
        "aligngap train --config=configs/x.py:alignclip --workdir=runs/alignclip",
        "jax 0.10.2",
        "<code>model.tie</code>",
        "one seed a model",
    ):
        assert words in source
    assert "<code>batch_size</code>" not in source, "only what differs is listed"


def test_what_a_clock_said_shows_of_the_runs_that_kept_it(pair, tmp_path):
    assert "images/s" not in built(pair, tmp_path)
    board = Board(pair[1], 0)
    for step, rate in ((10, 900.0), (20, 1000.0), (30, 1700.0)):
        timing = {"images_per_second": rate, "mfu": rate / 2500, "goodput": step / 40}
        board.write(step, {f"timing/{name}": value for name, value in timing.items()})
    board.close()
    rows = Page(built(pair, tmp_path)).rows
    place = next(i for i, row in enumerate(rows) if row[:2] == ["Run", "seed"])
    head, first, second = ([*map(str.strip, row)] for row in rows[place : place + 3])
    assert head[-3:] == ["images/s", "MFU", "time in steps"]
    assert first[-3:] == ["–", "–", "–"]
    assert second[-3:] == ["1,000", "40.0\u202f%", "75\u202f%"]


@pytest.mark.parametrize("count", [1, 3, 7])
def test_any_number_of_runs(make_run, tmp_path, count):
    workdirs = [make_run(tmp_path / f"r{i}", f"model {i}") for i in range(count)]
    source = built(workdirs, tmp_path)
    Page(source)
    assert source.count("<svg") == 2 * count + 3 + 3 + 4 + count


def test_other_splits_show_under_their_own_names(make_run, tmp_path):
    workdir = make_run(tmp_path / "clip")
    text = (workdir / "evaluation.json").read_text()
    text = text.replace("test_unseen_concept", "coco_karpathy").replace("Unseen concepts", "")
    (workdir / "evaluation.json").write_text(text)
    with np.load(workdir / "embeddings.npz") as arrays:
        content = {k.replace("test_unseen_concept", "coco_karpathy"): arrays[k] for k in arrays}
    np.savez(workdir / "embeddings.npz", **content)
    assert "Coco karpathy" in built([workdir], tmp_path)


def test_what_another_evaluator_found_shows_by_itself(pair, tmp_path):
    """Its values, nested ones under a heading of their own, with interval and chance; its curve."""
    source = built(pair, tmp_path)
    assert source.count("Mine, of_ours") == 3  # Splits.
    row = source[source.index(">dull<") :].partition("</tr>")[0]
    assert ">7.125 <small" in row and "7.075 to 7.175" in row and "<td>1.500</td>" in row
    row = source[source.index(">shiny<") :].partition("</tr>")[0]
    assert "<td>4.250</td>" in row and " to " not in row
    assert "validation/mine/shiny against training step" in source


def test_values_stand_under_values_with_an_interval_and_without(pair, tmp_path, visit):
    built(pair, tmp_path)
    seen = visit(tmp_path / "deep" / "report.html", 1280)
    ends = """rows => rows.map(row => [...row.querySelectorAll("td")].slice(0, 2).map(cell => {
        const value = document.createRange();
        value.setStart(cell.firstChild, 0);
        value.setEnd(cell.firstChild, cell.firstChild.data.trimEnd().length);
        return value.getBoundingClientRect().right;
    }))"""
    rows = "#results > .scroll tr:has(> th[scope=row])"
    found = np.array(seen.eval_on_selector_all(rows, ends))
    assert len(found) > 10 and np.ptp(found, axis=0).max() < 1


def test_commands_are_printed_whole(pair, tmp_path, visit):
    evaluation = json.loads((pair[0] / "evaluation.json").read_text())
    evaluation["commands"] = ["aligngap train " + "--config.seed=0 " * 40]
    (pair[0] / "evaluation.json").write_text(json.dumps(evaluation))
    assert built(pair, tmp_path).count("--config.seed=0") == 40
    seen = visit(tmp_path / "deep" / "report.html", 700)
    seen.emulate_media(media="print")
    inside = "all => all.map(each => each.scrollWidth <= each.clientWidth)"
    assert all(seen.eval_on_selector_all("pre.command", inside))


def test_an_old_page_survives_a_failure(pair, tmp_path, monkeypatch):
    output = tmp_path / "report.html"
    output.write_text("old")
    monkeypatch.setattr(
        atomic.os, "fdopen", lambda *_, **__: (_ for _ in ()).throw(OSError("full"))
    )
    with pytest.raises(AligngapError, match="cannot be written: full"):
        page.build(pair, output)
    assert output.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_unwritable_place_is_named(pair, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AligngapError, match=r"report\.html cannot be written"):
        page.build(pair, tmp_path / "file" / "report.html")


@pytest.fixture
def sweep(make_run, tmp_path):
    """A sweep of two methods and three seeds, and a point that failed before it was evaluated."""
    folder, names = tmp_path / "sweep", []
    for name, gap, recall in (("clip", 0.5, 0.2), ("alignclip", 0.2, 0.15)):
        for seed in range(3):
            names.append(f"{name}_s{seed}")
            noise = (seed - 1) / 100
            make_run(folder / names[-1], name, seed=seed, gap=gap + noise, recall=recall + noise)
    (folder / "wild").mkdir()
    points = {name: {} for name in [*names, "wild"]}
    (folder / "sweep.json").write_text(json.dumps({"points": points}))
    return folder


def test_a_sweep_is_a_row_a_point_and_its_extremes(sweep, tmp_path, capsys):
    output = tmp_path / "report.html"
    assert main(["report", f"--workdir={sweep}", f"--output={output}"]) == 0
    assert "not evaluated, and left out: wild" in capsys.readouterr().err
    text = output.read_text("utf-8")
    rows = [[" ".join(cell.split()) for cell in row] for row in Page(text).rows]
    assert [row[0] for row in rows[1:7]] == [
        f"{mark}{name}, seed {seed}"
        for mark, (name, seed) in zip(
            "●■▲◆▼●", [(n, s) for n in ("CLIP", "AlignCLIP") for s in range(3)], strict=True
        )
    ]
    assert rows[3][1].startswith("0.510") and rows[5][2].startswith("15.0")
    headline = re.search("<h1>(.*?)</h1>", text).group(1).replace("\u202f", " ")
    assert headline == (
        "The modality gap is 0.19 with AlignCLIP, seed 0 to 0.51 with CLIP, seed 2; the right "
        "caption is among the first ten for 14.0 % of images with AlignCLIP, seed 0 to 21.0 % with "
        "CLIP, seed 2, against 3.2 % by chance."
    )
    assert "against CLIP, seed 0</b>" not in text


def test_a_sweep_without_an_evaluated_point_says_what_to_run(sweep, tmp_path, capsys):
    for path in sweep.glob("*/evaluation.json"):
        path.unlink()
    assert main(["report", f"--workdir={sweep}", f"--output={tmp_path / 'report.html'}"]) == 1
    assert f"`aligngap evaluate --workdir={sweep / 'clip_s0'}`" in capsys.readouterr().err
