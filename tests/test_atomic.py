"""Folders that are written whole or not at all."""

import json
import math

import pytest

from aligngap import atomic
from aligngap.errors import AligngapError, UsageError


def test_json_comes_back_as_it_was(tmp_path):
    content = {"name": "Ä → 5", "values": [1, 0.5, None]}
    atomic.write_json(tmp_path / "new" / "content.json", content)
    assert json.loads((tmp_path / "new" / "content.json").read_text()) == content
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["content.json"]


def test_nan_is_null():
    written = atomic.as_json({"low": math.nan, "ends": [(math.nan, 1.5)]})
    assert json.loads(written, parse_constant=pytest.fail) == {"low": None, "ends": [[None, 1.5]]}


def test_a_folder_has_its_name_once_it_is_filled(tmp_path):
    with atomic.folder(tmp_path / "new" / "out") as filling:
        (filling / "file").write_text("content")
        assert not (tmp_path / "new" / "out").exists()
    assert (tmp_path / "new" / "out" / "file").read_text() == "content"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), atomic.folder(tmp_path / "out") as filling:
        (filling / "file").write_text("half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_what_is_there_stays(tmp_path):
    (tmp_path / "mine").write_text("mine")
    for path in (tmp_path, tmp_path / "mine"):
        with pytest.raises(UsageError, match="there already"), atomic.folder(path):
            pass
    with pytest.raises(AligngapError, match="cannot be written"):
        atomic.folder(tmp_path / "mine" / "out").__enter__()
    (tmp_path / "empty").mkdir()
    with atomic.folder(tmp_path / "empty") as filling:
        (filling / "file").write_text("content")
    assert (tmp_path / "empty" / "file").exists()
    assert (tmp_path / "mine").read_text() == "mine"


def test_what_cannot_be_written_is_told_before(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file" / "new" / "a.json", tmp_path):
        with pytest.raises(AligngapError, match="cannot be written"):
            atomic.expect_writable(path)
    with pytest.raises(AligngapError, match="cannot be written"):
        atomic.empty(tmp_path / "file" / "new")
    atomic.expect_writable(tmp_path / "new" / "folder" / "a.json")
    atomic.expect_writable(tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_killed_writes_left_goes_and_nothing_else_does(tmp_path):
    for name in (".a.json.k1lled00.part", ".a.json.progress", ".b.json.k1lled00.part", "a.json"):
        (tmp_path / name).write_text("")
    atomic.sweep(tmp_path / "a.json")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {".a.json.progress", ".b.json.k1lled00.part", "a.json"}


def test_a_write_goes_by_the_name_that_is_swept(tmp_path):
    with atomic.file(tmp_path / "a.json") as filling:
        filling.write(b"1")
        atomic.sweep(tmp_path / "b.json")
        assert len(list(tmp_path.glob(f".a.json.*{atomic.UNFINISHED}"))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
