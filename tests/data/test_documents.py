"""Queries and documents as MixBench has them: what each row has, and what is wrong with one."""

import json

import pyarrow as pa
import pyarrow.parquet
import pytest

from aligngap.data import inputs
from aligngap.errors import AligngapError

pytestmark = pytest.mark.corpus


def everything(found):
    return dict(zip(found.ids, map(found.read, range(len(found.ids))), strict=True))


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_rows_have_a_text_an_image_or_both(pictures, where, tmp_path):
    (tmp_path / "images" / "a").mkdir(parents=True)
    for name, content in zip(("0.png", "a/1.png"), pictures, strict=False):
        (tmp_path / "images" / name).write_bytes(content)
    rows = [
        {"corpus_id": "d0", "text": "both", "image": "images/0.png"},
        {"corpus_id": 1, "text": None, "image": "images/a/1.png"},
        {"corpus_id": "d2", "text": "line\nbreak", "image": ""},
    ]
    given = write(tmp_path / "mixed_corpus.jsonl", rows)
    found = inputs.images(given, where)
    assert everything(found) == {"d0": pictures[0], "1": pictures[1]}
    assert everything(inputs.texts(given, where)) == {"d0": "both", "d2": "line\nbreak"}
    queries = write(tmp_path / "queries.jsonl", [{"query_id": "q", "text": "ask"}])
    assert everything(inputs.texts(queries, where)) == {"q": "ask"}
    with pytest.raises(AligngapError, match=r"queries\.jsonl holds no image"):
        inputs.images(queries, where)
    (tmp_path / "images" / "0.png").write_bytes(pictures[2])
    assert inputs.images(given, where).digest != found.digest


@pytest.mark.parametrize("form", ["struct", "bytes"])
def test_images_of_parquet_are_its_bytes(pictures, where, tmp_path, form):
    held = [pictures[0], None, pictures[2]]
    if form == "struct":
        held = [{"bytes": x, "path": None} for x in held[:2]] + [{"bytes": held[2], "path": "x"}]
    table = pa.table({"id": ["a", "b", "c"], "text": ["one", "two", None], "image": held})
    pyarrow.parquet.write_table(table, tmp_path / "m.parquet", row_group_size=2)
    given = str(tmp_path / "m.parquet")
    assert everything(inputs.images(given, where)) == {"a": pictures[0], "c": pictures[2]}
    assert everything(inputs.texts(given, where)) == {"a": "one", "b": "two"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"corpus_id": "d", "image": "../secret.png"}, r"\.\./secret\.png, lies outside of"),
        ({"corpus_id": "d", "image": "images/../../x.png"}, "lies outside of"),
        ({"corpus_id": "d", "image": "/etc/passwd"}, "lies outside of"),
        ({"corpus_id": "d", "image": "images/gone.png"}, r"gone\.png cannot be read: No such"),
        ({"corpus_id": "d"}, "row 2: d has neither a text nor an image"),
        ({"text": "t"}, "row 2 has no id; expected one of query_id, corpus_id, id"),
        ({"corpus_id": "first", "text": "t"}, "first is the id of an earlier row"),
        ({"corpus_id": "d", "text": ["t"]}, "row 2: expected a text"),
        ({"corpus_id": "\ud800", "text": "t"}, "row 2: a text of it is no UTF-8"),
        ("no row", r"d\.jsonl: JSON cannot be read \(line 2\)"),
    ],
)
def test_a_bad_row_is_named(where, tmp_path, row, words):
    (tmp_path / "0.png").write_bytes(b"an image")
    first = {"corpus_id": "first", "text": "t", "image": "0.png"}
    given = write(tmp_path / "d.jsonl", [first, row])
    with pytest.raises(AligngapError, match=words):
        inputs.images(given, where)


def test_no_parquet_is_named(where, tmp_path):
    (tmp_path / "d.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(AligngapError, match=r"d\.parquet is no parquet file"):
        inputs.texts(str(tmp_path / "d.parquet"), where)
