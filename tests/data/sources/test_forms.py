"""The same pairs in every form give the same records, split alike."""

import dataclasses
import gzip
import json
import pickle

import pyarrow as pa
import pyarrow.parquet
import pytest

from aligngap.data import images, store
from aligngap.data.sources.raw import Columns, LeftOut, texts_in
from aligngap.data.sources.splitting import Splitting
from aligngap.errors import AligngapError, UsageError

from forms import FORMS, coco, files, img2dataset, jpegs, karpathy, parquet, shards, sidecars, table

ROLES = ("train", "validation", "test")


def records(corpus):
    """role → [(image, captions)], in the order of the split."""
    sources = {split.name: corpus.open(split.name) for split in corpus.splits}
    return {
        name: [(source[row].image, source[row].captions) for row in range(len(source))]
        for name, source in sources.items()
    }


@pytest.fixture(scope="session")
def wanted(pairs):
    return {pair.image: tuple(pair.captions) for pair in pairs}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_records_in_the_same_order(form, pairs, wanted, make, tmp_path):
    write, flags = FORMS[form]
    lines = Columns(caption_a_line="--caption_a_line" in flags)
    found = records(make(write(pairs, tmp_path / form), columns=lines))
    assert tuple(found) == ROLES
    assert {image: texts for part in found.values() for image, texts in part} == wanted
    assert sum(map(len, found.values())) == len(pairs)
    order = [pair.image for pair in pairs]
    for part in found.values():
        assert [image for image, _ in part] == sorted((i for i, _ in part), key=order.index)
    reference = records(make(table(pairs, tmp_path / "reference"), name="reference"))
    assert found == reference


def test_shares_are_of_the_images_and_the_same_image_is_in_one_split(pairs, make, tmp_path):
    """Also where it stands in several files, under several names."""
    twice = [*pairs, *(p._replace(name=f"again{p.name}", captions=["again"]) for p in pairs)]
    found = records(make(table(twice, tmp_path / "t"), splitting=Splitting(0.2, 0.1)))
    images = {role: {image for image, _ in part} for role, part in found.items()}
    assert sum(map(len, images.values())) == len(pairs) == sum(map(len, found.values())) / 2
    # Binomial: three standard deviations.
    assert abs(len(images["test"]) - 60) < 3 * (300 * 0.2 * 0.8) ** 0.5
    assert abs(len(images["validation"]) - 30) < 3 * (300 * 0.1 * 0.9) ** 0.5


def test_on_request_a_caption_too_is_in_one_split(pairs, make, tmp_path):
    """And who shares one with somebody who shares another."""
    few = [pair._replace(captions=[f"caption {i // 4}"]) for i, pair in enumerate(pairs)]
    by = Splitting(0.2, 0.2, by="caption")
    found = records(make(table(few, tmp_path / "few"), splitting=by))
    texts = {role: {text for _, each in part for text in each} for role, part in found.items()}
    assert sum(map(len, texts.values())) == 75
    assert all(texts.values())

    # Two captions each, of which the second joins groups of four by two: eight stand together.
    joined = [
        pair._replace(captions=[f"caption {i // 4}", f"link {i // 8} {i % 4}"])
        for i, pair in enumerate(pairs)
    ]
    whole = records(make(table(joined, tmp_path / "joined"), "joined", splitting=by))
    number = {pair.image: i // 8 for i, pair in enumerate(pairs)}
    groups = [{number[image] for image, _ in part} for part in whole.values()]
    assert sum(map(len, groups)) == 38
    assert all(groups)


def test_on_request_a_repeated_caption_is_left_out(pairs, make, tmp_path):
    few = [pair._replace(captions=[f"caption {i // 4}"]) for i, pair in enumerate(pairs)]
    once = Splitting(drop_duplicate_captions=True)
    found = records(make(table(few, tmp_path / "few"), splitting=once))
    kept = {image for part in found.values() for image, _ in part}
    assert kept == {pair.image for pair in pairs[::4]}


def test_files_may_say_the_split(pairs, make, tmp_path):
    train, held = table(pairs[:200], tmp_path / "a"), table(pairs[200:], tmp_path / "b")
    found = records(make(train, roles={"test": str(held)}, splitting=Splitting(0.0, 0.1)))
    assert {image for image, _ in found["test"]} == {pair.image for pair in pairs[200:]}
    assert 0 < len(found["validation"]) < 50

    tars = shards(pairs, tmp_path / "tars").parent
    first, second = (str(tars / f"{number:05d}.tar") for number in range(2))
    by_shard = records(make(first, "shards", roles={"test": second}, splitting=Splitting(0, 0.1)))
    assert {image for image, _ in by_shard["test"]} == {pair.image for pair in pairs[150:]}


def test_paths_may_be_relative_to_a_folder_of_their_own(pairs, make, tmp_path, monkeypatch):
    """Of all tables, and wherever the command was given."""
    table(pairs, tmp_path / "pictures")
    rows = (tmp_path / "pictures" / "pairs.csv").read_text().splitlines()
    (tmp_path / "tables").mkdir()
    for name, part in (("a", rows[1:200]), ("b", rows[200:])):
        (tmp_path / "tables" / f"{name}.csv").write_text("\n".join([rows[0], *part]))
    monkeypatch.chdir(tmp_path)
    by, held = Splitting(0.0, 0.1), {"test": "tables/b.csv"}
    corpus = make("tables/a.csv", roles=held, images="pictures", splitting=by)
    monkeypatch.chdir("/")
    found = records(corpus)
    images = {image for part in found.values() for image, _ in part}
    assert images == {pair.image for pair in pairs}
    assert len(found["test"]) == len(images) - len({row.split(",")[0] for row in rows[1:200]})


def test_karpathys_splits_are_kept(pairs, make, tmp_path):
    path = karpathy(pairs, tmp_path / "k")
    found = json.loads(path.read_text())
    for number, image in enumerate(found["images"]):
        image["split"] = ("train", "restval", "val", "test")[number % 4]
    path.write_text(json.dumps(found))
    counts = {role: len(part) for role, part in records(make(path)).items()}
    assert counts == {"train": 150, "validation": 75, "test": 75}


@pytest.mark.parametrize("form", ["table", "parquet"])
def test_a_column_may_say_the_split(form, pairs, make, tmp_path):
    """Unless the user does."""
    splits = ["Train", "test ", "val", "", "holdout"] * 20
    one = [pair._replace(captions=pair.captions[:1]) for pair in pairs]
    path = FORMS[form][0](one[:100], tmp_path / form)
    if form == "table":
        rows = zip(path.read_text().splitlines(), ["split", *splits], strict=True)
        path.write_text("\n".join(map(",".join, rows)))
    else:
        columns = pyarrow.parquet.read_table(path).append_column("split", [splits])
        pyarrow.parquet.write_table(columns, path)
    found = records(make(path, splitting=Splitting(0.0, 0.0)))
    assert {role: len(part) for role, part in found.items()} == {
        "train": 40,
        "validation": 20,
        "test": 20,
    }
    _, *listed = (tmp_path / "data" / "mine" / "left_out.tsv").read_text().splitlines()
    assert len(listed) == 20
    assert all("'holdout'; expected one of train, training" in line for line in listed)
    other = FORMS[form][0](one[100:], tmp_path / "other")
    told = records(make(other, "told", roles={"test": str(path)}, splitting=Splitting(0.0, 0.0)))
    assert [image for image, _ in told["test"]] == [pair.image for pair in one[:100]]


def test_an_image_that_a_held_out_table_names_is_held_out(pairs, make, tmp_path):
    """Whatever the table to train on says of it; with the captions of both."""
    names = [f"{p.name}.png" for p in pairs[:20]]
    files(pairs[:20], tmp_path)
    train = [f"{name},to train on,train" for name in names]
    held = [f"{name},held out" for name in names[15:]]
    for file, rows in (("a", ["image,caption,split", *train]), ("b", ["image,caption", *held])):
        (tmp_path / "images" / f"{file}.csv").write_text("\n".join(rows))
    folder = tmp_path / "images"
    found = records(make(folder / "a.csv", roles={"validation": str(folder / "b.csv")}))
    assert len(found["train"]) == 15
    assert {texts for _, texts in found["validation"]} == {("to train on", "held out")}


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view", "dictionary"])
def test_parquet_may_name_paths(kind, pairs, make, tmp_path):
    files(pairs[:5], tmp_path)
    names = pa.array([f"images/{pair.name}.png" for pair in pairs[:5]])
    paths = names.dictionary_encode() if kind == "dictionary" else names.cast(getattr(pa, kind)())
    columns = pa.table({"image": paths, "caption": [pair.captions[0] for pair in pairs[:5]]})
    pyarrow.parquet.write_table(columns, tmp_path / "pairs.parquet")
    found = records(make(tmp_path / "pairs.parquet", splitting=Splitting(0.0, 0.0)))
    assert [image for image, _ in found["train"]] == [pair.image for pair in pairs[:5]]


def test_coco_as_other_tools_write_it(pairs, make, tmp_path):
    """Ids as text beside numbers; annotations of boxes among those of captions."""
    path = coco(pairs[:20], tmp_path)
    found = json.loads(path.read_text())
    for annotation in found["annotations"]:
        annotation["image_id"] = str(annotation["image_id"])
    found["annotations"] += [{"image_id": 1, "bbox": [1, 2, 3, 4]}, {"caption": "of nothing"}]
    path.write_text(json.dumps(found))
    (part,) = records(make(path, splitting=Splitting(0.0, 0.0))).values()
    assert dict(part) == {pair.image: tuple(pair.captions) for pair in pairs[:20]}
    listed = (tmp_path / "data" / "mine" / "left_out.tsv").read_text()
    assert listed.count("an annotation without caption") == 2


def test_compressed_tars_are_refused(pairs, make, tmp_path):
    content = next(shards(pairs[:4], tmp_path / "t").parent.iterdir()).read_bytes()
    for name in ("a.tar", "a.tar.gz"):
        (tmp_path / name).write_bytes(gzip.compress(content))
        with pytest.raises(UsageError, match=rf"{name} is compressed, .* unpack it"):
            make(tmp_path / name)


def test_labels_become_classes(pairs, make, tmp_path):
    path = table(pairs, tmp_path / "t")
    rows = path.read_text().splitlines()
    labelled = [f"{rows[0]},kind"] + [
        f"{row},{'long_ones' if len(row) > 30 else 'short-ones'}" for row in rows[1:]
    ]
    path.write_text("\n".join(labelled))
    corpus = make(path, columns=Columns(labels=("kind",)))
    assert corpus.kinds == ("kind",)
    assert corpus.classes("kind") == {"long_ones": ["long ones"], "short-ones": ["short ones"]}
    assert corpus.open("train")[0].labels["kind"] in corpus.classes("kind")


def test_values_that_are_no_text():
    """Bytes of old parquet files; what JSON has where there is no caption."""
    nothing = [None, True, float("nan"), [], {"raw": None}]
    assert texts_in([b"a caf\xc3\xa9", "b", 3, *nothing]) == ["a café", "b", "3"]
    assert Columns(labels=("kind",)).labels_of({"kind": b"cat "}) == {"kind": "cat"}
    with pytest.raises(LeftOut, match="text is no UTF-8"):
        texts_in([b"caf\xe9"])


def test_a_source_can_be_sent_to_another_process(pairs, make, tmp_path):
    source = make(shards(pairs, tmp_path / "tars")).open("train")
    copy = pickle.loads(pickle.dumps(source))
    assert copy[3] == source[3]
    assert copy.version == source.version
    assert dataclasses.asdict(copy) == dataclasses.asdict(source)


def test_a_shard_that_was_changed_is_told(pairs, make, tmp_path):
    corpus = make(shards(pairs, tmp_path / "tars"))
    path = tmp_path / "tars" / "00000.tar"
    path.write_bytes(path.read_bytes() + bytes(512))
    with pytest.raises(AligngapError, match="has changed since it was indexed"):
        corpus.open("train")[0]


def test_another_request_under_one_name_is_refused(pairs, make, tmp_path):
    path = table(pairs, tmp_path / "t")
    make(path)
    make(path)  # The same: it is there.
    with pytest.raises(UsageError, match=r"prepared from something else .*splitting"):
        make(path, splitting=Splitting(0.2, 0.2))


def test_shards_may_be_named_by_braces(pairs, make, tmp_path):
    """As shells and webdataset understand them; a file of that very name comes first."""
    tars = shards(pairs, tmp_path / "tars").parent
    whole = records(make(tars / "{00000..00001}.tar"))
    assert whole == records(make(tars / "*.tar", "starred"))
    assert records(make(tars / "0000{1,0}.tar", "listed")).keys() == whole.keys()
    first = records(make(tars / "{00000..00000}.tar", "one"))
    assert {i for part in first.values() for i, _ in part} == {pair.image for pair in pairs[:150]}
    (tars / "00001.tar").rename(tars / "{1..9}.tar")
    odd = records(make(tars / "{1..9}.tar", "odd"))
    assert {i for part in odd.values() for i, _ in part} == {pair.image for pair in pairs[150:]}
    with pytest.raises(AligngapError, match=r"00001\.tar: no such file"):
        make(tars / "{00000..00002}.tar", "missing")
    more = ",".join(f"{number:05d}" for number in range(100))  # Too long for a file's name.
    with pytest.raises(AligngapError, match=r"00002\.tar: no such file"):
        make(tars / f"{{00000,00002,{more}}}.tar", "many")
    with pytest.raises(UsageError, match="a brace has no other half"):
        make(tars / "{00000..00002.tar", "half")


def test_a_shard_that_is_named_twice_counts_once(pairs, make, tmp_path):
    """Also where two names are of one file."""
    tars = shards(pairs, tmp_path / "tars").parent
    whole = records(make(tars / "*.tar"))
    assert records(make(tars / "{*,00001,00000}.tar", "named_twice")) == whole
    (tmp_path / "link").symlink_to(tars)
    assert records(make(f"{tmp_path}/{{tars,link}}/*.tar", "linked")) == whole


@pytest.mark.parametrize("form", ["shards", "table", "parquet", "saved", "sidecars"])
def test_no_file_is_for_two_splits(form, pairs, make, tmp_path):
    write, _ = FORMS[form]
    given = write(pairs[:40], tmp_path / "a")
    (tmp_path / "b").mkdir()
    for role in ("validation", "test"):
        with pytest.raises(UsageError, match=rf"/a/.+ is for training and for {role}: "):
            make(given, roles={role: f"{tmp_path}/b/../{given.relative_to(tmp_path)}"})
    with pytest.raises(UsageError, match="is for validation and for test"):
        other = write(pairs[40:80], tmp_path / "c")
        make(other, roles={"validation": str(given), "test": str(given)})


def test_shards_without_records_do_not_move_the_others(pairs, make, tmp_path):
    path = parquet(pairs, tmp_path / "p")
    whole = records(make(path))
    schema = pyarrow.parquet.read_schema(path)
    pyarrow.parquet.ParquetWriter(path.with_name("empty.parquet"), schema).close()
    assert records(make(path.with_name("*.parquet"), "more")) == whole


def test_an_image_of_a_held_out_folder_is_held_out(pairs, make, tmp_path):
    """Also where that folder lies in the one that is trained on."""
    folder = sidecars(pairs[:60], tmp_path / "photos")
    held = sidecars(pairs[60:90], folder / "held")
    lines = Columns(caption_a_line=True)
    by = Splitting(0.0, 0.2)
    found = records(make(folder, roles={"test": str(held)}, columns=lines, splitting=by))
    assert {image for image, _ in found["test"]} == {pair.image for pair in pairs[60:90]}
    assert sum(map(len, found.values())) == 90


@pytest.mark.parametrize("given", ["", "*.tar", "{00000..00001}.tar"])
def test_what_img2dataset_leaves(given, pairs, make, tmp_path):
    """The folder as well, with the tables and statistics beside the shards."""
    pairs = jpegs(pairs)
    folder = img2dataset(pairs, tmp_path / "cc12m")
    found = records(make(folder / given if given else folder))
    one = {pair.image: (pair.captions[0],) for pair in pairs}
    assert {image: texts for part in found.values() for image, texts in part} == one


def test_its_tables_alone_are_told_for_what_they_are(pairs, make, tmp_path):
    folder = img2dataset(pairs, tmp_path / "cc12m")
    with pytest.raises(
        UsageError, match=r"is \.json, \.parquet, \.tar; expected files of one kind"
    ):
        make(folder / "*")
    with pytest.raises(AligngapError, match=r"no column of images among .*img2dataset"):
        make(folder / "*.parquet")


TABLES = {  # As the programs of people write them: (header, encoding, end of a line, delimiter).
    "a byte-order mark": (("filepath", "title"), "utf-8-sig", "\r\n", ","),
    "Excel in German": (("filepath", "title"), "utf-8-sig", "\r\n", ";"),
    "names in capitals": (("Filepath", "TITLE"), "utf-8", "\n", ","),
    "spaces after commas": (("filepath", "title"), "utf-8", "\n", ", "),
    "tabs": (("filepath", "title"), "utf-8", "\r", "\t"),
}


@pytest.mark.parametrize("how", TABLES)
def test_tables_as_people_have_them(how, pairs, wanted, make, tmp_path):
    header, encoding, end, delimiter = TABLES[how]
    named = [pair._replace(name=f"{pair.name} é 日") for pair in pairs]
    folder = files(named, tmp_path / "t")
    rows = [
        (f"images/{pair.name}.png", '"' + text.replace('"', '""') + '"')
        for pair in named
        for text in pair.captions
    ]
    text = end.join(delimiter.join(row) for row in [header, *rows])
    given = folder.parent / "my pairs.csv"
    given.write_bytes(text.encode(encoding))
    found = records(make(given))
    assert {image: texts for part in found.values() for image, texts in part} == wanted


def test_a_folder_as_a_camera_leaves_it(pairs, make, tmp_path):
    """Suffixes in capitals; a sidecar that is no JSON costs its image alone."""
    folder = tmp_path / "Bilder, neu"
    folder.mkdir()
    for number, pair in enumerate(pairs[:40]):
        (folder / f"bild {pair.name}.PNG").write_bytes(pair.image)
        text = json.dumps({"caption": pair.captions[0]})
        bad = {2: "{", 4: "[1]"}.get(number, text)
        name, content = (".TXT", pair.captions[0]) if number % 2 else (".JSON", bad)
        (folder / f"bild {pair.name}{name}").write_text(content, encoding="utf-8-sig")
    found = records(make(folder))
    good = [pair for number, pair in enumerate(pairs[:40]) if number not in (2, 4)]
    wanted = {pair.image: (pair.captions[0],) for pair in good}
    assert {image: texts for part in found.values() for image, texts in part} == wanted
    listed = (tmp_path / "data" / "mine" / "left_out.tsv").read_text()
    assert f"JSON cannot be read\tlines.jsonl\tbild {pairs[4].name}.PNG: it is no object" in listed


def test_links_to_folders_are_followed_once(pairs, make, tmp_path):
    """As of data that are spread over disks; also one that leads back."""
    folder, elsewhere = tmp_path / "photos", tmp_path / "disk"
    sidecars(pairs[:10], folder / "a")
    sidecars(pairs[10:20], elsewhere)
    for name, target in (("b", elsewhere), ("c", elsewhere), ("0", folder / "a"), ("a/d", folder)):
        (folder / name).symlink_to(target)
    found = records(make(folder, columns=Columns(caption_a_line=True)))
    images = [image for part in found.values() for image, _ in part]
    assert sorted(images) == sorted(pair.image for pair in pairs[:20])
    assert {name.rpartition("/")[0] for name in store.listing(str(folder))} == {
        "a/images",
        "b/images",
    }


def test_a_folder_of_two_kinds_is_refused(pairs, make, tmp_path):
    folder = sidecars(pairs[:10], tmp_path)
    shards(pairs[10:20], tmp_path / "t").parent.rename(folder / "backup")
    with pytest.raises(UsageError, match=r"several kinds \(backup/00000.tar and 0.+\.png\)"):
        make(folder)
    (folder / "backup" / "x.parquet").touch()
    with pytest.raises(
        UsageError, match=r"several kinds \(00000.tar and x.parquet\).*'.+/backup/\*\.tar'"
    ):
        make(folder / "backup")


def test_what_no_corpus_can_be_made_of(pairs, make, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match="holds no image"):
        make(empty)
    with pytest.raises(AligngapError, match="no such file"):
        make(tmp_path / "missing*.tar")
    (tmp_path / "a.json").write_text('{"images": 3}')
    with pytest.raises(AligngapError, match="neither COCO's form"):
        make(tmp_path / "a.json")
    (tmp_path / "urls.csv").write_text("url,caption\nhttp://a/b.jpg,a cat\n")
    with pytest.raises(AligngapError, match=r"no record is left to train on .*no image: 1"):
        make(tmp_path / "urls.csv")
    with pytest.raises(AligngapError, match=r"such as \{'url': "):
        make(tmp_path / "urls.csv")
    (tmp_path / "none.csv").write_text("image,caption\n")
    with pytest.raises(AligngapError, match=r"none\.csv has no row or record"):
        make(tmp_path / "none.csv")
    (tmp_path / "wide.csv").write_text("image,caption\na.jpg,a cat\n", encoding="utf-16")
    with pytest.raises(AligngapError, match="is UTF-16: save it as UTF-8"):
        make(tmp_path / "wide.csv")
    (tmp_path / "x.rar").write_bytes(b"Rar!")
    with pytest.raises(UsageError, match=r"is \.rar; expected files of one kind"):
        make(tmp_path / "x.rar")


def test_converted_records_are_the_indexed_ones(pairs, make, tmp_path):
    given = shards(pairs, tmp_path / "tars")
    first = make(given, "in-place")
    copied = make(given, "cop-ied", convert=True)
    assert records(copied) == records(first)
    given.parent.rename(tmp_path / "gone")  # The copy needs them no more.
    assert copied.open("test")[0].captions
    assert pickle.loads(pickle.dumps(copied.open("test")))[0] == copied.open("test")[0]


def test_converted_and_resized(pairs, make, tmp_path):
    corpus = make(shards(pairs, tmp_path / "tars"), convert=True, resize=24)
    source = corpus.open("validation")
    sizes = {images.decode(source[row].image).size for row in range(len(source))}
    assert sizes == {(24, 24)}


def test_a_damaged_copy_is_told(pairs, make, tmp_path):
    corpus = make(shards(pairs, tmp_path / "tars"), convert=True)
    (path,) = (tmp_path / "data" / "mine").glob("mine-test.array_record-*")
    path.write_bytes(path.read_bytes()[:-70_000])
    with pytest.raises(AligngapError, match=r"is damaged .*: delete it and prepare it again"):
        corpus.open("test")


@pytest.mark.parametrize("form", FORMS)
def test_captions_alone_are_those_of_the_records(form, pairs, make, tmp_path):
    """Of files of their own images are not opened for them."""
    write, flags = FORMS[form]
    lines = Columns(caption_a_line="--caption_a_line" in flags)
    source = make(write(pairs[:60], tmp_path / form), columns=lines).open("train")
    whole = [source[row].captions for row in range(len(source))]
    if form in ("table", "coco", "karpathy", "sidecars"):
        (tmp_path / form / "images").rename(tmp_path / "elsewhere")
    assert [source.captions(row) for row in range(len(source))] == whole
