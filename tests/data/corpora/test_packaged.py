"""stamps and openclipart: of small packages in their layout, and of the real ones."""

import io
from collections import Counter

import pytest
from PIL import Image

from aligngap.data import corpora, debian, fetch, images
from aligngap.data.corpora import openclipart, packaged, stamps
from aligngap.data.corpora.openclipart import Openclipart
from aligngap.data.corpora.stamps import Stamps
from aligngap.data.sources import indexed
from aligngap.data.sources.splitting import Splitting
from aligngap.errors import AligngapError, UsageError

from packages import deb

pytestmark = pytest.mark.corpus
SECONDS = 240  # For 160 MB.
CIRCLE = '<circle cx="30" cy="30" r="20" fill="{colour}"/>'
SVG = """<svg xmlns="http://www.w3.org/2000/svg" {size}
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:cc="http://web.resource.org/cc/"
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><metadata><rdf:RDF><cc:Work>
<dc:title>{title}</dc:title><dc:subject><rdf:Bag>{keywords}</rdf:Bag></dc:subject>
</cc:Work></rdf:RDF></metadata>{body}</svg>"""
PAGE = 'width="744.09" height="1052.36" viewBox="0 0 744.09 1052.36"'


def svg(title="", keywords=(), body="", size=PAGE) -> bytes:
    words = "".join(f"<rdf:li>{word}</rdf:li>" for word in keywords)
    return SVG.format(title=title, keywords=words, body=body, size=size).encode()


def circle(colour="red") -> str:
    return CIRCLE.format(colour=colour)


def png(colour, size=(40, 30)) -> bytes:
    """Transparent but for a disc."""
    image = Image.new("RGBA", size)
    image.paste(colour, (8, 8, 20, 20))
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


@pytest.fixture
def small_stamps(tmp_path):
    files = {
        "animals/birds/crow.png": png("black"),
        "animals/birds/crow.txt": b"A crow.\nde.utf8=Eine Kr\xc3\xa4he.\n",
        "animals/birds/crow_mirror.png": png("gray"),
        "animals/birds/crow_mirror.txt": b"A crow.\n",
        "animals/birds/crow_flip_big.png": png("gray"),
        "animals/birds/crow_flip_big.txt": b"A crow.\n",
        "animals/flipper.png": png("blue"),
        "animals/flipper.txt": b"A flipper.\n",
        "animals/birds/silent.png": png("red"),
        "animals/birds/blank.png": png("red"),
        "animals/birds/blank.txt": b"\n",
        "town/hut.svg": svg(body=circle()),
        "town/hut.png": png("green"),
        "town/hut.txt": b"A hut.\n",
        "town/lamp.svg": svg(body=circle("blue")),
        "town/lamp.txt": b"A lamp.\n",
        "town/again.svg": svg(body=circle("blue")),
        "town/again.txt": b"The same lamp.\n",
        "town/nothing.svg": svg(),
        "town/nothing.txt": b"A blank page.\n",
        "town/broken.png": png("red")[:60],
        "town/broken.txt": b"A broken picture.\n",
        "town/sound.ogg": b"OggS",
    }
    return deb({f"{stamps.FOLDER}/{name}": x for name, x in files.items()}, tmp_path / "s.deb")


@pytest.fixture
def small_clips(tmp_path):
    files = {
        "animals/birds/crow_joe_01.svg": svg(
            "crow_joe_01",
            ["Bird", "black  bird", "ab", "hash", "a@b.org", "http://b.org"],
        ),
        "animals/x.y.svg": svg("Clipart by Nicu Buculei - jigsaw_red_10"),
        "animals/mail.svg": svg("joe@example.org"),
        "animals/site.svg": svg("http://example.org"),
        "animals/short.svg": svg("tv"),
        "animals/long.svg": svg("word " * 20),
        "animals/untitled.svg": svg(),
        "animals/not.svg": b"<svg><not closed",
        "animals/bomb.svg": b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
        + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 20) for n in range(1, 9))
        + b"]><svg><title>&a8;</title></svg>",
        "animals/huge.svg": svg("huge", body=f"<desc>{'x' * openclipart.LARGEST}</desc>"),
        "animals/read.txt": b"not a drawing",
        "shapes/stars/star.svg": svg("star"),
        "special/logo.svg": svg("logo"),
        **{f"cards/{n}.svg": svg(f"card {n}") for n in range(openclipart.OFTEN)},
        **{f"few/{n}.svg": svg(f"pair {n}") for n in range(openclipart.OFTEN - 1)},
    }
    return deb({f"{openclipart.FOLDER}/{name}": x for name, x in files.items()}, tmp_path / "o.deb")


def test_the_layout_of_stamps(small_stamps):
    found = {picture.name: picture for picture in Stamps.pictures(small_stamps)}
    assert {name: [*picture.captions] for name, picture in found.items()} == {
        "animals/birds/crow": ["A crow."],
        "animals/flipper": ["A flipper."],
        "town/again": ["The same lamp."],
        "town/broken": ["A broken picture."],
        "town/hut": ["A hut."],
        "town/lamp": ["A lamp."],
        "town/nothing": ["A blank page."],
    }
    assert found["animals/birds/crow"].labels == {"folder": "animals", "leaf": "birds"}
    assert found["town/hut"].kind == "png"  # Not also its drawing.
    assert found["town/lamp"].kind == "svg"


def test_the_layout_of_openclipart(small_clips):
    found = {picture.name: picture for picture in Openclipart.pictures(small_clips)}
    assert {name: [*picture.captions] for name, picture in found.items()} == {
        "animals/birds/crow_joe_01": ["crow joe"],
        "animals/x_y": ["jigsaw red"],
        **{f"few/{n}": ["pair"] for n in range(openclipart.OFTEN - 1)},
    }
    crow = found["animals/birds/crow_joe_01"]
    assert crow.keywords == ["bird", "black bird"]
    assert crow.labels == {"folder": "animals", "leaf": "animals/birds"}


def test_drawings_are_cropped_on_white_and_of_bounded_size():
    """Also without a size of their own, and very high or wide."""
    for size in (PAGE, "", 'viewBox="0 0 60 60"', 'width="100" height="9000"', 'width="9000"'):
        picture = packaged.Picture("x", "svg", svg(body=circle(), size=size), ["x"])
        ((_, (found,)),) = [packaged.render(packaged.Chunk(3, [picture]))]
        image = images.decode(found)
        assert max(image.size) <= packaged.SIDE
        assert image.getpixel((image.width // 2, image.height // 2)) == (255, 0, 0)
        assert abs(image.width - image.height) <= 1, size  # A circle, without its page.
    seen_through = packaged.Picture("x", "png", png("black"), ["x"])
    assert images.decode(packaged.render(packaged.Chunk(0, [seen_through]))[1][0]).getpixel(
        (0, 0)
    ) == (255, 255, 255)


def test_a_corpus_of_a_small_package(small_stamps, tmp_path, monkeypatch):
    """What cannot be rendered, is blank or repeats another picture is not in it."""
    downloads = fetch.downloads(tmp_path / "data")
    downloads.mkdir(parents=True)
    pin = debian.DebPin("small", "1:1", fetch.sha256(small_stamps))
    monkeypatch.setattr(Stamps, "pin", pin)
    monkeypatch.setattr(Stamps, "shares", Splitting(0.0, 0.0))
    small_stamps.rename(downloads / pin.filename)
    corpus = Stamps(tmp_path / "data")
    with pytest.raises(AligngapError, match="run `aligngap prepare --corpus=stamps --data_dir="):
        corpus.open("train")
    corpus.prepare()
    source = corpus.open("train")
    found = {source[row].name: source[row].captions for row in range(len(source))}
    assert found == {
        "animals/birds/crow": ("A crow.",),
        "animals/flipper": ("A flipper.",),
        "town/again": ("The same lamp.",),
        "town/hut": ("A hut.",),
    }
    assert corpus.classes("leaf").keys() == {"animals", "birds", "town"}


@pytest.fixture(scope="module")
def real(pictograms_dir):
    """(a corpus's class) → its package, kept beside what else was fetched."""

    def package(made):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(fetch, "TIMEOUT_SECONDS", SECONDS)
            try:
                return debian.package(made.pin, fetch.downloads(pictograms_dir))
            except AligngapError as error:
                pytest.skip(f"{made.pin.name} cannot be fetched here: {error}")

    return package


def check_captions(pictures):
    """No address in any, no two lines in one."""
    texts = [text for picture in pictures for text in (*picture.captions, *picture.keywords)]
    assert not [text for text in texts if "@" in text or "http" in text.lower()]
    assert not [text for text in texts if text != " ".join(text.split()) or not text]


def test_the_real_stamps(real, tmp_path):
    downloads = fetch.downloads(tmp_path)
    downloads.mkdir(parents=True)
    (downloads / Stamps.pin.filename).symlink_to(real(Stamps))
    corpus = Stamps(tmp_path)
    corpus.prepare()
    sources = {split.name: corpus.open(split.name) for split in corpus.splits}
    found = {name: [source[row] for row in range(len(source))] for name, source in sources.items()}
    everything = [record for records in found.values() for record in records]
    captions = {name: {text for r in part for text in r.captions} for name, part in found.items()}
    pictures = {name: {record.image for record in part} for name, part in found.items()}
    assert 900 < len(everything) < 1000
    assert sum(map(len, captions.values())) == len(set().union(*captions.values())) > 790
    assert sum(map(len, pictures.values())) == len(set().union(*pictures.values()))
    assert min(len(found[name]) for name in ("validation", "test")) > 60
    check_captions(everything)
    assert {"A butterfly.", "A castle in ruins."} <= set().union(*captions.values())
    for kind, least in (("folder", 14), ("leaf", 46)):
        classes = corpus.classes(kind)
        assert {record.labels[kind] for record in everything} == classes.keys()
        assert len(classes) >= least
        assert not any("_" in text for texts in classes.values() for text in texts)
    for record in everything:
        image = images.decode(record.image)
        assert max(image.size) <= packaged.SIDE
        assert len(image.getcolors(2) or (1, 2)) == 2
    (licence,) = corpus.licences()
    assert (licence.licence, licence.version) == ("GPL-2", Stamps.pin.version)


def test_the_real_drawings(real):
    """All their titles; every 24th is rendered, since all of them take minutes."""
    found = list(Openclipart.pictures(real(Openclipart)))
    assert 2400 < len(found) < 3300
    assert len({picture.name for picture in found}) == len(found)
    check_captions(found)
    often = Counter(text for picture in found for text in picture.captions)
    assert max(often.values()) < openclipart.OFTEN
    assert sum(bool(picture.keywords) for picture in found) > 0.8 * len(found)
    leaves = Counter(picture.labels["leaf"] for picture in found)
    assert sum(count >= 15 for count in leaves.values()) >= 30
    some = found[::24]
    _, rendered = packaged.render(packaged.Chunk(0, some))
    drawn = [images.decode(png) for png in rendered if png]
    assert len(drawn) > 0.95 * len(some)
    assert all(max(image.size) <= packaged.SIDE for image in drawn)
    assert len({hash(png) for png in rendered}) > 0.95 * len(some)
    assert Openclipart.provides.licence == "public domain"


def test_one_that_is_prepared_is_named_once(tmp_path):
    (tmp_path / "stamps").mkdir()
    (tmp_path / "stamps" / indexed.ABOUT).write_text("{}")
    with pytest.raises(UsageError) as error:
        corpora.find("nowhere", tmp_path)
    assert str(error.value).count("stamps") == 1
