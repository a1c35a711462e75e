"""Damaged records are counted by reason and listed, and nothing else is lost."""

import csv
import gzip
import json
import resource
import shutil
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from aligngap.data import images, inputs
from aligngap.data.corpora.prepared import Prepared
from aligngap.data.sources import examine, tables, tar
from aligngap.data.sources.raw import Columns, LeftOut, Rules
from aligngap.data.sources.splitting import Splitting
from aligngap.errors import AligngapError, UsageError
from aligngap.reporting.corpus_page import page

import damaged
from damaged import encoded
from forms import Pair, add, files, table

ALL = Splitting(0.0, 0.0)


@pytest.fixture(scope="session")
def picture(pairs) -> Image.Image:
    return images.decode(pairs[0].image)


@pytest.fixture(scope="session")
def readable(pairs) -> dict[str, bytes]:
    return damaged.readable(pairs[0].image)


@pytest.fixture(scope="session")
def broken(pairs) -> dict[str, tuple[bytes, str]]:
    return damaged.broken(pairs[0].image)


def kept(corpus):
    """{name: captions} of everything that stayed."""
    found = {}
    for split in corpus.splits:
        source = corpus.open(split.name)
        for row in range(len(source)):
            images.decode(source[row].image)
            found[source[row].name] = source[row].captions
    return found


def left_out(corpus, tmp_path) -> list[tuple[str, str]]:
    """(reason, detail), as they are listed."""
    path = tmp_path / "data" / corpus.name / "left_out.tsv"
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["reason"], row["detail"]) for row in csv.DictReader(file, delimiter="\t")]


def test_images(pairs, readable, broken, make, tmp_path):
    """Files that a table names."""
    good = [Pair(name, content, [f"a {name}"]) for name, content in readable.items()]
    bad = [Pair(name, content, [f"a {name}"]) for name, (content, _) in broken.items()]
    path = table([*pairs, *good, *bad], tmp_path / "t")
    rows = path.read_text().splitlines()
    path.write_text("\n".join([*rows, "images/gone.png,a picture that is not there"]))
    corpus = make(path, splitting=ALL)
    names = {f"images/{pair.name}.png" for pair in (*pairs, *good)}
    assert kept(corpus).keys() == names
    listed = left_out(corpus, tmp_path)
    for name, (_, reason) in broken.items():
        assert [why for why, detail in listed if name in detail] == [reason], name
    assert [why for why, detail in listed if "gone.png" in detail] == ["image is missing"]
    assert len(listed) == len(broken) + 1


def test_sixteen_bits_a_pixel_become_eight(readable):
    """Scaled, not clipped: noise over the whole range has a mean in the middle."""
    pixels = np.asarray(images.decode(readable["deep.png"]))
    assert 118 < pixels.mean() < 138


def test_threads_agree_on_what_is_too_large():
    """Pillow itself would only warn of it, and filters of warnings belong to no thread alone."""
    side = 10_000  # Squared more than Pillow's limit, less than twice as much.
    bomb = encoded(Image.new("1", (side, side)), "PNG")

    def refused(_) -> bool:
        try:
            examine.size_of(bomb, "header")
        except LeftOut as reason:
            return reason.reason == "image is too large to decode"
        return False

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # Seconds, so that threads get in each other's way.
    try:
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(refused, range(2000)))
    finally:
        sys.setswitchinterval(before)


def test_only_headers_on_request(pairs, broken, make, tmp_path):
    """Then a cut image stays: training replaces it."""
    cut = Pair("cut", broken["cut.jpg"][0], ["cut"])
    path = table([*pairs[:20], cut], tmp_path / "t")
    assert len(make(path, "quick", rules=Rules(check="header"), splitting=ALL).open("train")) == 21
    assert len(make(path, "whole", splitting=ALL).open("train")) == 20


@pytest.mark.parametrize("copied", [False, True])
def test_what_is_held_out_is_decoded_all_the_same(copied, pairs, broken, make, tmp_path):
    """Evaluation puts nothing in the place of a damaged image."""
    cut = [Pair(f"cut{i}", broken["cut.jpg"][0] + bytes(i), [f"cut {i}"]) for i in range(30)]
    shares = Splitting(0.3, 0.3)
    rules = Rules(check="header")
    path = table([*pairs[:60], *cut], tmp_path / "t")
    corpus = make(path, rules=rules, splitting=shares, convert=copied)
    found = {split.name: corpus.open(split.name) for split in corpus.splits}
    for role in ("validation", "test"):
        for row in range(len(found[role])):
            images.decode(found[role][row].image)
    trained = [found["train"][row].name for row in range(len(found["train"]))]
    damaged_ones = sum("cut" in name for name in trained)
    assert 0 < damaged_ones < 30
    listed = left_out(corpus, tmp_path)
    assert [why for why, _ in listed] == ["image cannot be decoded"] * (30 - damaged_ones)
    assert sum(map(len, found.values())) == 90 - len(listed)


def test_a_tar_of_all_kinds_of_damage(pairs, broken, make, tmp_path):
    good, image = pairs[:50], pairs[60].image
    (tmp_path / "t").mkdir()
    with tarfile.open(tmp_path / "t" / "0.tar", "w") as archive:
        for pair in good[:40]:
            add(archive, f"{pair.name}.png", pair.image)
            add(archive, f"{pair.name}.txt", pair.captions[0].encode())
        for name, text in {
            "latin": "une fenêtre".encode("latin-1"),
            "lines": b"one\nand two\r\n",
            "blank": b" \n",
        }.items():
            add(archive, f"{name}.png", image)
            add(archive, f"{name}.txt", text)
        add(archive, "lonely.png", image)
        add(archive, "silent.txt", b"a text without an image")
        add(archive, "badjson.png", image)
        add(archive, "badjson.json", b"{")
        for _ in range(2):
            add(archive, "twice.png", image)
        add(archive, "twice.txt", b"twice")
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        add(archive, "link.txt", b"a link")
        add(archive, "../outside.png", image)
        add(archive, "../outside.txt", b"outside")
        add(archive, f"{good[0].name}.png", image)  # Again, far from the first.
        for name, (content, _) in broken.items():
            add(archive, name, content)
            add(archive, f"{name.partition('.')[0]}{len(content)}.txt", b"an image")
        for pair in good[40:]:
            add(archive, f"{pair.name}.png", pair.image)
            add(archive, f"{pair.name}.txt", pair.captions[0].encode())
    corpus = make(tmp_path / "t", splitting=ALL)
    wanted = {pair.name: (" ".join(pair.captions[0].split()),) for pair in good}
    assert kept(corpus) == wanted | {"lines": ("one and two",)}
    listed = left_out(corpus, tmp_path)
    for name, reason in {
        "latin": "text is no UTF-8",
        "blank": "no caption",
        "lonely": "no caption",
        "silent": "no image",
        "badjson": "JSON cannot be read",
        "twice": "two members of one name",
        "link.png": "a link or device in a tar",
        "../outside": "a path that leads out of a tar",
        f"{good[0].name}.png": "a sample twice in a tar",
    }.items():
        assert reason in [why for why, detail in listed if name in detail], name


def test_tars_that_are_cut_off_or_damaged_keep_what_is_whole(pairs, make, tmp_path):
    (tmp_path / "t").mkdir()
    for number in range(3):
        with tarfile.open(tmp_path / "t" / f"{number}.tar", "w") as archive:
            for pair in pairs[10 * number : 10 * number + 10]:
                add(archive, f"{pair.name}.png", pair.image)
                add(archive, f"{pair.name}.txt", pair.captions[0].encode())
    with tarfile.open(tmp_path / "t" / "0.tar") as archive:
        end = archive.getmembers()[12].offset_data + 700  # In the middle of the seventh picture.
        header = archive.getmembers()[10].offset
    whole = (tmp_path / "t" / "0.tar").read_bytes()
    (tmp_path / "t" / "0.tar").write_bytes(whole[:end])
    other = bytearray((tmp_path / "t" / "1.tar").read_bytes())
    other[header : header + 8] = b"\xff" * 8
    with tarfile.open(tmp_path / "t" / "1.tar") as archive:
        place = archive.getmembers()[10].offset
    other = bytearray((tmp_path / "t" / "1.tar").read_bytes())
    other[place : place + 8] = b"\xff" * 8
    (tmp_path / "t" / "1.tar").write_bytes(other)
    (tmp_path / "t" / "3.tar").write_bytes(b"no tar at all" * 100)
    corpus = make(tmp_path / "t", splitting=ALL)
    wanted = [*pairs[:6], *pairs[10:15], *pairs[20:30]]
    assert kept(corpus).keys() == {pair.name for pair in wanted}
    reasons = [why for why, _ in left_out(corpus, tmp_path)]
    assert reasons[0] == "a tar is cut off"
    assert reasons.count("a tar is damaged or cut off") == 2


def test_what_lies_behind_the_end_of_a_tar_is_told(pairs, make, tmp_path):
    """Another one, or the zeros of a file that was never filled."""
    for number in range(2):
        with tarfile.open(tmp_path / f"{number}.tar", "w") as archive:
            for pair in pairs[10 * number : 10 * number + 10]:
                add(archive, f"{pair.name}.png", pair.image)
                add(archive, f"{pair.name}.txt", pair.captions[0].encode())
    first, second = ((tmp_path / f"{number}.tar").read_bytes() for number in range(2))
    (tmp_path / "0.tar").write_bytes(first + second)
    with tarfile.open(tmp_path / "1.tar") as archive:
        filled = archive.getmembers()[10].offset
    (tmp_path / "1.tar").write_bytes(second[:filled] + bytes(len(second)))
    corpus = make(tmp_path / "*.tar", splitting=ALL)
    assert kept(corpus).keys() == {pair.name for pair in pairs[:15]}
    assert [why for why, _ in left_out(corpus, tmp_path)] == ["a tar is damaged or cut off"] * 2


def test_rows_of_a_table(pairs, make, tmp_path):
    path = table(pairs[:30], tmp_path / "t")
    rows = path.read_bytes().rstrip(b"\n")
    name = f"images/{pairs[0].name}.png".encode()
    bad = [
        b"\xef\xbb\xbf",  # Only once, at the begin of a file, is this a mark.
        name + b",une fen\xeatre",
        name,
        name + b",a,b,c",
        b",no image",
    ]
    more = [name + b',"a name\nin two lines"']
    path.write_bytes(b"\n".join([rows, *bad, *more]))
    corpus = make(path, splitting=ALL)
    found = kept(corpus)
    assert len(found) == 30
    assert found[name.decode()] == (*pairs[0].captions, "a name in two lines")
    reasons = sorted(why for why, _ in left_out(corpus, tmp_path))
    assert reasons.count("a row has other columns than the table") == 3
    assert reasons.count("text is no UTF-8") == 1
    assert reasons.count("no image") == 1


QUOTES = {  # What stands in the table's fifth row → the caption, or what is said.
    ("csv", '"a cat'): r"pairs\.csv line 5: a quote is opened .* swallow the rows up to line 10",
    ("csv", '"A" cat'): "a row cannot be read",
    ("csv", 'a "small" cat'): 'a "small" cat',
    ("tsv", '"a cat'): '"a cat',
    ("tsv", '"A" cat'): '"A" cat',
    ("tsv", '"a ""small"" cat"'): 'a "small" cat',
    ("tsv", '"a\ncat"'): "a cat",
}


@pytest.mark.parametrize(("form", "caption"), QUOTES)
def test_quotes_in_tables(form, caption, pairs, make, tmp_path):
    """A quote that is not closed swallows no rows, and between tabs is but a character."""
    image = files(pairs[:1], tmp_path) / f"{pairs[0].name}.png"
    captions = [f"number {number}" for number in range(9)]
    captions[3] = caption
    between, path = {"csv": ",", "tsv": "\t"}[form], tmp_path / f"pairs.{form}"
    rows = [("image", "title"), *((str(image), text) for text in captions)]
    path.write_text("".join(f"{between.join(row)}\n" for row in rows))
    wanted = QUOTES[form, caption]
    if "swallow" in wanted:
        with pytest.raises(AligngapError, match=wanted):
            make(path)
        return
    corpus = make(path, splitting=ALL)
    (found,) = kept(corpus).values()
    reasons = [why for why, _ in left_out(corpus, tmp_path)]
    assert (found[3] if len(found) == 9 else reasons[0]) == wanted
    assert len(found) + len(reasons) == 9


def test_a_table_with_two_columns_of_one_name(make, tmp_path):
    (tmp_path / "a.csv").write_text("image,caption,caption\na.png,a cat,a dog\n")
    with pytest.raises(UsageError, match=r"a\.csv has two columns that are called 'caption'"):
        make(tmp_path / "a.csv")


def test_rules(pairs, picture, make, tmp_path):
    sizes = {"wide": (200, 40), "small": (20, 20), "good": (64, 64)}
    drawn = [
        Pair(name, encoded(picture.resize(size), "PNG"), ["a caption of middling length"])
        for name, size in sizes.items()
    ]
    texts = [Pair("terse", pairs[1].image, ["x"]), Pair("both", pairs[2].image, ["x", "a caption"])]
    rules = Rules(min_side=32, max_aspect=3.0, min_caption=3, max_caption=40)
    corpus = make(table([*drawn, *texts], tmp_path / "t"), rules=rules, splitting=ALL)
    assert kept(corpus) == {
        "images/good.png": ("a caption of middling length",),
        "images/both.png": ("a caption",),
    }
    assert sorted(why for why, _ in left_out(corpus, tmp_path)) == [
        "aspect",
        "caption length",
        "shorter side",
    ]


def test_a_strip_has_an_aspect(pairs, picture, make, tmp_path):
    """Not 0, which no page could show on a logarithmic scale."""
    strip = Pair("strip", encoded(picture.resize((1, 300)), "PNG"), ["a strip"])
    make(table([strip, pairs[0]], tmp_path / "t"), splitting=ALL)
    found = json.loads((tmp_path / "data" / "mine" / "statistics.json").read_text())["aspect"]
    assert found == {"0.0033": 1, "1": 1}


def test_a_label_that_is_missing(pairs, make, tmp_path):
    path = table(pairs[:3], tmp_path / "t")
    rows = path.read_text().splitlines()
    path.write_text("\n".join([f"{rows[0]},kind", f"{rows[1]},a", f"{rows[-1]},"]))
    corpus = make(path, columns=Columns(labels=("kind",)), splitting=ALL)
    assert len(corpus.open("train")) == 1
    assert [why for why, _ in left_out(corpus, tmp_path)] == ["no label"]


def test_a_parquet_file_that_is_none(make, tmp_path):
    """Also the second of two that name paths."""
    (tmp_path / "b.parquet").write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(AligngapError, match=r"b\.parquet is no parquet file that can be read"):
        make(tmp_path / "b.parquet")
    columns = pa.table({"image": ["a.png"], "caption": ["a"]})
    pyarrow.parquet.write_table(columns, tmp_path / "a.parquet")
    with pytest.raises(AligngapError, match=r"b\.parquet is no parquet file that can be read"):
        make(tmp_path / "*.parquet")


def test_a_path_that_no_file_can_have(pairs, make, tmp_path):
    path = table(pairs[:3], tmp_path / "t")
    path.write_text(f"{path.read_text()}images/a\0.png,a zero byte\n")
    corpus = make(path, splitting=ALL)
    assert len(kept(corpus)) == 3
    assert left_out(corpus, tmp_path)[0][0] == "image is missing"


def test_a_copy_on_a_full_disk(pairs, make, tmp_path):
    given = table(pairs, tmp_path / "t")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(AligngapError, match=r"mine-train\.array_record.+ cannot be written"):
            make(given, convert=True, splitting=ALL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(make(given, convert=True, splitting=ALL).open("train")) == len(pairs)


def header(kind: bytes, size: int, content: bytes = b"") -> bytes:
    """One that says more of the next member, and what it says."""
    entry = tarfile.TarInfo("more")
    entry.type, entry.size = kind, size
    return entry.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % tar.BLOCK)


def pax(keyword: str, value: str) -> bytes:
    said = f" {keyword}={value}\n".encode()
    return b"%d" % (len(said) + 2) + said  # Of ten bytes to 99.


LIES = {
    "no number": header(tarfile.XHDTYPE, 512, pax("GNU.sparse.map", "x" * 9)),
    "backwards": header(tarfile.XHDTYPE, 512, pax("size", "-1024")),
    "gigabytes": header(tarfile.XHDTYPE, 2**33 - 1),
    "a long name": header(tarfile.GNUTYPE_LONGNAME, 2**33 - 1),
    "no end": header(tarfile.XHDTYPE, 0) * 3000,
}


@pytest.mark.parametrize("lie", LIES)
def test_tars_whose_headers_lie(lie, pairs, make, tmp_path):
    """What stands before is kept, and the rest costs neither memory nor time."""
    written = tmp_path / "whole.tar"
    with tarfile.open(written, "w", format=tarfile.USTAR_FORMAT) as archive:
        for pair in pairs[:6]:
            add(archive, f"{pair.name}.png", pair.image)
            add(archive, f"{pair.name}.txt", pair.captions[0].encode())
    with tarfile.open(written) as archive:
        at = archive.getmembers()[8].offset
    content = written.read_bytes()
    written.with_name("lies.tar").write_bytes(content[:at] + LIES[lie] + content[at:])
    corpus = make(tmp_path / "lies.tar", splitting=ALL)
    assert {pair.name for pair in pairs[:4]} <= {*kept(corpus)}
    assert left_out(corpus, tmp_path)[0][0] == "a tar is damaged or cut off"
    where = inputs.Where(tmp_path / "none", 1)
    with pytest.raises(AligngapError, match=r"lies\.tar: not a whole, uncompressed tar"):
        inputs.images(str(tmp_path / "lies.tar"), where)


def test_half_a_character_and_endless_lists_in_a_tars_json(pairs, make, tmp_path):
    deep = "[" * 300 + '"a cat"' + "]" * 300
    said = ['["\\ud800 a cat"]', deep, deep * 1000, '["a cat"]']
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for pair, captions in zip(pairs[:4], said, strict=True):
            add(archive, f"{pair.name}.png", pair.image)
            add(archive, f"{pair.name}.json", f'{{"captions": {captions}}}'.encode())
    corpus = make(tmp_path / "a.tar", splitting=ALL)
    assert kept(corpus) == {pairs[3].name: ("a cat",)}
    reasons = [why for why, _ in left_out(corpus, tmp_path)]
    assert reasons == ["text is no UTF-8", "JSON cannot be read", "JSON cannot be read"]


def test_a_line_that_unpacks_to_more_than_memory_should_hold(make, tmp_path):
    with gzip.open(tmp_path / "a.csv.gz", "wb", 1) as file:
        file.write(b"image,caption\n" + bytes(tables.LONGEST_LINE + 1))
    with pytest.raises(AligngapError, match=r"a\.csv\.gz has a line of more than 67,108,864"):
        make(tmp_path / "a.csv.gz")


def test_values_of_parquet_that_python_has_no_type_for(pairs, make, tmp_path):
    days = pa.array([1, 2**30, 2], pa.date32())
    columns = {"image": [p.image for p in pairs[:3]], "caption": ["a", "b", "c"], "made": days}
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    corpus = make(tmp_path / "a.parquet", splitting=ALL)
    assert sorted(kept(corpus).values()) == [("a",), ("c",)]
    assert [why for why, _ in left_out(corpus, tmp_path)] == ["a row cannot be read"]


@pytest.mark.parametrize(
    ("here", "instead"),
    [
        (
            np.array([0, 1, 3, 6], np.int32).tobytes(),
            np.array([0, 1, 2**30, 6], np.int32).tobytes(),
        ),
        (b"caption", b"\xffaption"),
    ],
)
def test_a_damaged_arrow_stream(here, instead, pairs, make, tmp_path):
    """Where its texts lie, and what a column is called: Arrow itself believes both."""
    columns = pa.table({"image": [p.image for p in pairs[:3]], "caption": ["a", "bb", "ccc"]})
    with pa.ipc.new_stream(tmp_path / "data.arrow", columns.schema) as stream:
        stream.write_table(columns)
    content = (tmp_path / "data.arrow").read_bytes()
    assert here in content
    (tmp_path / "data.arrow").write_bytes(content.replace(here, instead))
    (tmp_path / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    with pytest.raises(AligngapError, match=r"data\.arrow is no Arrow stream that can be read"):
        make(tmp_path)


@pytest.mark.parametrize(
    "said", ["[]", '{"_data_files": 1}', '{"_data_files": [{"filename": ".."}]}', "[" * 10**5]
)
def test_a_saved_dataset_that_does_not_say_its_files(said, make, tmp_path):
    (tmp_path / "state.json").write_text(said)
    (tmp_path / "dataset_dict.json").write_text('{"splits": [""]}')
    for name in ("dataset_dict.json", "state.json"):
        with pytest.raises(AligngapError, match=rf"{name} (cannot be read|does not list)"):
            make(tmp_path)
        (tmp_path / name).unlink()


def test_a_prepared_corpus_with_another_thing_in_a_place(pairs, make, tmp_path):
    """What was prepared, and then written in or damaged: a line names the file."""
    (tmp_path / "a.png").write_bytes(pairs[0].image)
    (tmp_path / "a.csv").write_text("image,caption\na.png,a\n")
    good = tmp_path / "data" / make(tmp_path / "a.csv", splitting=ALL).name

    def refused(number, name, content):
        folder = tmp_path / "changed" / str(number)  # What a folder says is read once a process.
        shutil.copytree(good, folder)
        (folder / name).write_bytes(content)
        with pytest.raises(AligngapError) as caught:
            Prepared(folder.parent, folder.name).open("train")[0]
            page.write(folder)
        said = str(caught.value)
        assert name.replace("train", "*") in said and "again" in said and "\n" not in said

    def about(*path):
        """With the last one in the place that the others lead to."""
        found = json.loads((good / "corpus.json").read_text())
        held = found
        for key in path[:-2]:
            held = held[key]
        held[path[-2]] = path[-1]
        return json.dumps(found).encode()

    changes = [
        ("corpus.json", b"[]"),
        ("corpus.json", about("splits", [])),
        ("corpus.json", about("splits", "train", "records", -1)),
        ("corpus.json", about("kinds", {"label": [1]})),
        ("corpus.json", about("shards", [{}])),
        ("corpus.json", about("settings", "rules", {"check": "decode"})),
        ("corpus.json", about("settings", "columns", "captions", None)),
        ("corpus.json", about("left_out", {"reason": 10**400})),
        ("lines.jsonl", b"[]" + bytes(200)),
        ("lines.jsonl", b"\xff" * 200),
        ("train.index", b"\xff" * 16),
        ("statistics.json", b"{}"),
        ("left_out.tsv", b"\xff\xfe"),
    ]
    for number, (name, content) in enumerate(changes):
        refused(number, name, content)
