"""The page of a prepared corpus: its counts, what it shows, and that words of others stay words."""

import json

import pytest

from aligngap.data import corpora
from aligngap.data.sources.machines import ThisMachine
from aligngap.data.sources.prepare import Request, prepare
from aligngap.data.sources.raw import Columns, Rules
from aligngap.data.sources.splitting import Splitting
from aligngap.reporting.corpus_page import page as corpus_page

import damaged
from forms import Pair, drawings, parquet, shards, table

pytestmark = pytest.mark.corpus
ATTACK = "<script>document.title = 'run'</script><img src=x onerror=alert(1)> \"onerror=\"alert(2)"


@pytest.fixture
def written(tmp_path):
    """(source, name, ...) → the folder of a corpus made of it, with its page."""

    def made(source, name="mine", columns=None, rules=None, splitting=None, **kw):
        about = columns or Columns(), rules or Rules(), splitting or Splitting()
        folder = prepare(
            Request(name, {"": str(source)}, *about, **kw), tmp_path / "data", ThisMachine(1)
        )
        corpus_page.write(folder)
        return folder

    return made


@pytest.fixture
def opened(visit):
    """(folder, width) → its page in a browser."""
    return lambda folder, width=1100: visit(folder / "report.html", width)


@pytest.fixture(scope="module")
def pairs(pictograms_dir):
    return drawings(pictograms_dir, 120)


def hostile(pairs, folder):
    """A table with attacks for captions, keywords and classes; some images are damaged."""
    broken = damaged.broken(pairs[0].image)
    bad = [Pair(f"bad-{n}", content, ["a"]) for n, (content, _) in enumerate(broken.values())]
    odd = [Pair(f"odd{i}", p.image, [ATTACK, f"{ATTACK} {i}"]) for i, p in enumerate(pairs[:40])]
    path = table([*odd, *pairs[40:], *bad], folder)
    rows = path.read_text().splitlines()
    more = [f'{row},"{ATTACK.replace(chr(34), chr(34) * 2)}",<b>class</b>' for row in rows[1:]]
    gone = f'"images/{ATTACK.replace(chr(34), chr(34) * 2)}",gone,word,<b>class</b>'
    path.write_text("\n".join([f"{rows[0]},keywords,kind", *more, gone]))
    return path


def test_what_it_counts_is_what_the_corpus_has(pairs, written, opened, tmp_path):
    folder = written(shards(pairs, tmp_path / "tars"))
    page, corpus = opened(folder), corpora.find("mine", folder.parent)
    rows = page.locator("#splits tbody tr").all_inner_texts()
    total = 0
    for split, row in zip(corpus.splits, rows, strict=True):
        source = corpus.open(split.name)
        captions = sum(len(source[i].captions) for i in range(len(source)))
        assert row.split() == [
            split.name, str(len(source)), str(captions), f"{len(source) / len(pairs):.1%}"
        ]  # fmt: skip
        total += captions
    assert page.locator("h1").inner_text() == f"120 images with {total} captions; 0 left out."
    assert "read where they are, in 2 tar files" in page.locator("header").inner_text()
    assert f"--config.data.data_dir={folder.parent}" in page.locator("header").inner_text()
    assert "Nothing: every image can be read" in page.locator("#left-out").inner_text()
    notes = page.locator("#shapes figcaption").all_inner_texts()
    assert "median 64, from 64 to 64" in notes[0]
    lengths = [len(text) for pair in pairs for text in pair.captions]
    assert f"from {min(lengths)} to {max(lengths)}" in notes[2]


def test_the_gallery_shows_records_of_the_training_split(pairs, written, opened, tmp_path):
    folder = written(parquet(pairs, tmp_path / "parquet"))
    page = opened(folder)
    cards = page.locator("#gallery .card")
    assert cards.count() == corpus_page.PICTURES
    sizes = page.locator("#gallery img").evaluate_all(
        "images => Promise.all(images.map(x => x.decode().then(() => x.naturalWidth)))"
    )
    assert sizes == [64] * corpus_page.PICTURES
    source = corpora.find("mine", folder.parent).open("train")
    for card, row in ((cards.first, 0), (cards.last, len(source) - 1)):
        assert card.inner_text().split("\n\n") == [*source[row].captions]


def test_words_of_others_stay_words(pairs, written, opened, tmp_path):
    folder = written(hostile(pairs, tmp_path / "files"), columns=Columns(labels=("kind",)))
    page = opened(folder)
    assert page.title() == "Corpus: mine"
    assert page.locator("script").count() == 0
    assert page.locator("img[src=x]").count() == page.locator("[onerror]").count() == 0
    said = page.locator("#gallery .card").first.inner_text()
    assert ATTACK in said
    assert f"keywords: {ATTACK}" in said
    assert "kind: <b>class</b>" in said
    assert page.locator("#gallery img").first.get_attribute("alt") == ATTACK
    assert "1 class: <b>class</b>" in page.locator("#splits").inner_text()
    assert ATTACK in page.locator("#left-out").inner_text()


def test_what_was_left_out_is_counted_by_reason_with_examples(pairs, written, opened, tmp_path):
    folder = written(hostile(pairs, tmp_path / "files"), columns=Columns(labels=("kind",)))
    page = opened(folder)
    rows = page.locator("#left-out tbody tr")
    about = json.loads((folder / "corpus.json").read_text())["left_out"]
    shown = dict(
        zip(
            [text.split("\n")[0].strip() for text in rows.locator("th").all_inner_texts()],
            map(int, rows.locator("td").all_inner_texts()),
            strict=True,
        )
    )
    assert shown == about
    assert list(shown.values()) == sorted(shown.values(), reverse=True)
    assert about["image is missing"] == about["image is too large to decode"] == 1
    listed = page.locator("#left-out").inner_text()
    assert "bad-0.png" in listed
    assert "lines.jsonl" not in listed
    assert "object at 0x" not in listed


@pytest.mark.parametrize("width", [360, 1100])
def test_nothing_is_wider_than_the_screen(width, pairs, written, opened, tmp_path):
    long = pairs[0]._replace(captions=["w" * 2000, "a long caption " * 200])
    path = hostile([long, *pairs[1:]], tmp_path / "files")
    page = opened(written(path, columns=Columns(labels=("kind",))), width)
    wide = page.evaluate("() => document.documentElement.scrollWidth")
    assert wide <= width
    inside = "tables => tables.every(table => table.scrollWidth <= table.parentElement.clientWidth)"
    assert page.locator(".scroll table").evaluate_all(inside)


def test_where_no_image_fell_to_a_split(pairs, written, opened, tmp_path):
    folder = written(table(pairs, tmp_path / "files"), splitting=Splitting(1e-9, 0.2))
    said = opened(folder).locator("#splits").inner_text()
    assert "No image fell to test: delete" in said
    assert "--test_share" in said
    assert any("no image fell to test" in line for line in corpus_page.summary(folder))
    unasked = written(table(pairs, tmp_path / "again"), "other", splitting=Splitting(0.0, 0.2))
    assert not any("fell to" in line for line in corpus_page.summary(unasked))


def test_of_a_copy(pairs, written, opened, tmp_path):
    folder = written(shards(pairs, tmp_path / "tars"), convert=True, resize=24)
    page = opened(folder)
    assert "were copied from 2 tar files" in page.locator("header").inner_text()
    found = page.locator("#gallery img").first.evaluate(
        "x => x.decode().then(() => x.naturalWidth)"
    )
    assert found == 24


def test_where_only_headers_were_looked_at(pairs, written, opened, tmp_path):
    """What cannot be decoded stands among the pictures as such."""
    cut = damaged.broken(pairs[0].image)["cut.jpg"][0]
    few = [pairs[0]._replace(image=cut), *pairs[1:10]]
    only = Rules(check="header"), Splitting(0.0, 0.0)
    folder = written(table(few, tmp_path / "files"), rules=only[0], splitting=only[1])
    assert (
        opened(folder).locator("#gallery .card").first.inner_text().startswith("cannot be decoded")
    )


def test_the_same_corpus_gives_the_same_bytes(pairs, written, tmp_path):
    folder = written(hostile(pairs, tmp_path / "files"), columns=Columns(labels=("kind",)))
    first = (folder / "report.html").read_bytes()
    corpus_page.write(folder)
    assert (folder / "report.html").read_bytes() == first
