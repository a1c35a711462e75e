"""The map in a real browser: what lies under the pointer, colourings, and no word to outside."""

import io
import itertools
import json

import numpy as np
import pytest
from PIL import Image

from aligngap.config import default, tower
from aligngap.data import eval_set
from aligngap.data.tokenizers import bpe
from aligngap.evaluation.subject import Subject
from aligngap.gap import examples, files
from aligngap.models import dual_encoder
from aligngap.parallel import mesh as meshes
from aligngap.reporting.gap_page import page as gap_page
from aligngap.reporting.gap_page import pair_map
from aligngap.training import optimizer, state

ATTACK = "<img src=x onerror=alert(1)></script><script>alert(2)</script> & \"'"
ATTACKED = 7  # the pair whose caption and label that is
PAIRS = 80
WHERE = """i => {
  const plot = Bokeh.documents[0].get_model_by_name("plot");
  const view = Bokeh.index.find_one(plot), box = view.canvas_view.el.getBoundingClientRect();
  const { x, y } = plot.document.get_model_by_name("modality").data_source.data;
  return [box.left + view.frame.x_scale.compute(x[i]), box.top + view.frame.y_scale.compute(y[i])];
}"""
PAIR = """() => {
  const { data } = Bokeh.documents[0].get_model_by_name("pair");
  return [[...data.x], [...data.y]];
}"""


@pytest.fixture(scope="module")
def folder(pictograms_dir, tmp_path_factory):
    """Pictograms, their captions and groups, and what an untrained model makes of them."""
    config = default()
    config.data.data_dir = str(pictograms_dir)
    config.model.embed_dim = 16
    config.model.image.update(tower(32, 1, 2, 2.0), size=32, patch_size=8)
    config.model.text.update(tower(32, 1, 2, 2.0), context_length=12, vocab_size=600)
    split = eval_set.read(config, "test_unseen_both")
    mesh = meshes.make(config)
    model = dual_encoder.make(config)
    words = bpe.train(split.texts, 600)
    params = state.create(config, model, optimizer.make(config), mesh).params
    image, text = Subject(config, model, words, mesh, intervals=False).embedded(params, split.name)
    own = split.image_text
    folder = tmp_path_factory.mktemp("map")
    captions = [split.texts[i] for i in own[:PAIRS]]
    groups = split.labels["group"][:PAIRS]
    captions[ATTACKED] = groups[ATTACKED] = ATTACK
    pictures = np.stack([split.pixels(row, 64, "crop") for row in range(PAIRS)])
    np.savez(
        folder / "pairs.npz",
        image=image[:PAIRS],
        text=text[own[:PAIRS]],
        picture=pictures,
        group=groups,
    )
    (folder / "captions.txt").write_text("\n".join(captions))
    return folder


@pytest.fixture(scope="module")
def written(folder):
    """The page of them all; what the map knows."""
    pairs = f"{folder / 'pairs.npz'}:"
    found = files.measure(
        f"{pairs}image",
        f"{pairs}text",
        folder / "out",
        f"{pairs}group",
        captions=folder / "captions.txt",
        pictures=f"{pairs}picture",
    )
    gap_page.build(found, ["gap"], folder / "out" / "report.html")
    return found


@pytest.fixture
def opened(written, folder, visit):
    """colour scheme → the page, its map drawn."""

    def open_page(scheme):
        page = visit(folder / "out" / "report.html", color_scheme=scheme)
        page.wait_for_selector("#map[data-ready]")
        page.locator("#map").scroll_into_view_if_needed()
        return page

    return open_page


def point_at(page, point):
    x, y = page.evaluate(WHERE, point)
    page.mouse.move(x - 200, y - 200)
    page.mouse.move(x, y)
    page.wait_for_selector(".card")
    return page.locator(".card")


def colours(page):
    """Those that many pixels of the map have, coarsely."""
    image = Image.open(io.BytesIO(page.locator("#map").screenshot())).convert("RGB")
    found, counts = np.unique(np.asarray(image).reshape(-1, 3) // 32, axis=0, return_counts=True)
    return {tuple(colour) for colour, count in zip(found, counts, strict=True) if count > 50}


def alone(page, points):
    """One of the points that has no other nearby, so that the pointer finds it."""
    where = np.array([page.evaluate(WHERE, i) for i in range(2 * PAIRS)])
    distances = np.linalg.norm(where[:, None] - where, axis=-1) + 1e9 * np.eye(2 * PAIRS)
    return max(points, key=lambda i: distances[i].min())


def repainted(page, *before):
    """The colours, as soon as they are none of those before."""
    for _ in range(100):
        if (found := colours(page)) not in before:
            break
        page.wait_for_timeout(50)
    return found


@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_point_shows_its_pair(opened, written, folder, modality):
    page = opened("light")
    point = alone(page, range(PAIRS) if modality == "image" else range(PAIRS, 2 * PAIRS))
    pair = point % PAIRS
    card = point_at(page, point)
    words = card.inner_text()
    caption = (folder / "captions.txt").read_text().splitlines()[pair]
    assert f"Pair {pair}" in words and caption in words and written.label[pair] in words
    for direction, place in (("image_to_text", "caption"), ("text_to_image", "image")):
        rank = written.ranks[direction][pair]
        assert f"finds its {place} at rank {rank:,g}" in words
    source = card.locator("img").get_attribute("src")
    assert card.locator("img").evaluate("x => x.decode().then(() => x.naturalWidth)") == 64
    assert source.endswith(page.evaluate(
        "i => JSON.parse(document.getElementById('map-data').textContent).pairs.picture[i]", pair
    ))  # fmt: skip
    ends = page.evaluate(PAIR)
    drawn = page.evaluate("""ends => {
      const { x, y } = Bokeh.documents[0].get_model_by_name("modality").data_source.data;
      return [ends.map(i => x[i]), ends.map(i => y[i])];
    }""", [pair, pair + PAIRS])  # fmt: skip
    assert ends == drawn
    page.mouse.move(5, 5)
    page.wait_for_function("() => Bokeh.documents[0].get_model_by_name('pair').data.x.length === 0")


def test_words_of_others_stay_words(opened):
    page = opened("light")
    card = point_at(page, alone(page, [ATTACKED, ATTACKED + PAIRS]))
    if f"Pair {ATTACKED}" not in card.inner_text():
        pytest.fail("another pair lies nearer: choose another ATTACKED")
    assert card.locator("[data-slot=caption]").inner_text() == ATTACK
    assert card.locator("[data-slot=label]").inner_text() == ATTACK
    assert card.locator("img").count() == 1 and card.locator("script").count() == 0


def test_the_policy_lets_nothing_else_run(opened, browser, folder):
    """Not even what would stand in the page: neither an element's code nor a string's."""
    page = opened("light")
    assert page.evaluate("() => typeof Bokeh") == "object"
    policy = page.locator("meta[http-equiv]").get_attribute("content")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    scripts = policy.split("script-src")[1].split(";")[0]
    assert "unsafe" not in scripts and len(scripts.split()) == 2
    source = (folder / "out" / "report.html").read_text("utf-8")
    attacked = folder / "attacked.html"
    attacked.write_text(source.replace("<main>", "<main><script>document.title = 'run'</script>"))
    other = browser.new_page()
    other.goto(attacked.as_uri())
    assert other.title() != "run"
    other.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colourings_are_chosen_by_keyboard(opened, scheme):
    page = opened(scheme)
    shown = {"modality": colours(page)}
    page.locator("input[value=modality]").focus()
    for name in ("label", "rank"):
        page.keyboard.press("ArrowRight")
        assert page.locator(f"input[value={name}]").is_checked()
        for legend in page.locator("[data-colouring]").all():
            assert legend.is_visible() == (legend.get_attribute("data-colouring") == name)
        shown[name] = repainted(page, *shown.values())
    assert all(one - other for one, other in itertools.permutations(shown.values(), 2))


def test_the_theme_may_change_while_the_page_is_open(opened):
    page = opened("light")
    palette = (
        "() => Bokeh.documents[0].get_model_by_name('modality').glyph.fill_color.transform.palette"
    )
    light = page.evaluate(palette)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"light => ({palette})()[0] !== light[0]", arg=light)
    assert (light, page.evaluate(palette)) == (
        ["#0072b2", "#d55e00"], ["#56b4e9", "#f0a030"]
    )  # fmt: skip


def test_few_labels_have_colours_and_the_rest_is_other(written, folder):
    source = (folder / "out" / "report.html").read_text("utf-8")
    legend = source.split('data-colouring="label"')[1].split("</ul>")[0]
    assert legend.count("■") == min(len(written.labels), len(pair_map.LABELS) + 1)
    assert ("other" in legend) == (len(written.labels) > len(pair_map.LABELS))
    assert "<img" not in legend


def test_of_many_pairs_the_map_shows_a_stated_sample(written, folder, monkeypatch):
    monkeypatch.setattr(examples, "SHOWN", 20)
    pairs = f"{folder / 'pairs.npz'}:"
    found = files.measure(f"{pairs}image", f"{pairs}text", folder / "few", exact_pairs=50)
    gap_page.build(found, ["gap"], folder / "few" / "report.html")
    source = (folder / "few" / "report.html").read_text("utf-8")
    assert f"20 pairs, drawn at random (seeded) from the {PAIRS}, in" in source
    assert "finds its own caption among 50," in source
    assert 'value="label"' not in source and "With <code>--pictures</code>" in source
    text = source.split('id="map-data">')[1].split("</script>")[0]
    shown = json.loads(text)["pairs"]
    assert len(shown["row"]) == 20 and shown["caption"] is None and shown["picture"] is None
    rows = np.array(shown["row"])
    assert (np.diff(rows) > 0).all() and rows.max() < PAIRS
    np.testing.assert_allclose(found.image[found.examples.places], written.image[rows], atol=1e-6)
