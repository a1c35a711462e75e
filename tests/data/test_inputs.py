"""What a user may name: each kind in order, read in place, and what is wrong said in a line."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from aligngap.data import corpora, inputs, records
from aligngap.errors import AligngapError, UsageError

pytestmark = pytest.mark.corpus


def everything(found):
    return dict(zip(found.ids, map(found.read, range(len(found.ids))), strict=True))


def shard(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def test_a_folder_is_read_by_name_to_its_leaves(pictures, where, tmp_path):
    wanted = {"10.png": pictures[0], "9.PNG": pictures[1], "sub/a b.png": pictures[2]}
    for name, content in wanted.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    found = inputs.images(str(tmp_path), where)
    assert everything(found) == wanted
    assert list(found.ids) == sorted(wanted)
    assert list(inputs.images(f"{tmp_path}/*.png", where).ids) == [f"{tmp_path}/10.png"]
    assert len(inputs.images(f"{tmp_path}/**/*.png", where).ids) == 2
    assert everything(inputs.images(f"{tmp_path}/10.png", where)) == {
        f"{tmp_path}/10.png": pictures[0]
    }


def test_a_list_keeps_its_order(pictures, where, tmp_path):
    names = [str(tmp_path / name) for name in ("b.png", "a.png")]
    for name, content in zip(names, pictures, strict=False):
        Path(name).write_bytes(content)
    (tmp_path / "list.txt").write_text("\r\n".join(names) + "\r\n")
    found = inputs.images(str(tmp_path / "list.txt"), where)
    assert list(everything(found).items()) == list(zip(names, pictures, strict=False))
    (tmp_path / "list.txt").write_text(f"{names[0]}\n{tmp_path}/gone.png\n")
    with pytest.raises(AligngapError, match=r"list\.txt: .*gone\.png cannot be read"):
        inputs.images(str(tmp_path / "list.txt"), where)
    Path(names[0]).unlink()
    with pytest.raises(AligngapError, match=r"b\.png cannot be read: No such file"):
        found.read(0)


def test_a_split_has_the_captions_of_evaluation(where):
    found = inputs.texts("pictograms/test_unseen_both", where)
    pictures = inputs.images("pictograms/test_unseen_both", where)
    source = corpora.find("pictograms", where.data_dir).open("test_unseen_both")
    assert list(found.ids) == list(pictures.ids)
    assert len(found.ids) == len(source)
    for row in (0, len(source) - 1):
        concept = source[row].name
        assert found.ids[row] == f"test_unseen_both/{row}/{concept}"
        assert found.read(row) == records.caption(source[row], 2)
        assert pictures.read(row) == source[row].image
    with pytest.raises(UsageError, match="unknown split 'test'"):
        inputs.images("pictograms/test", where)


def test_shards_are_read_in_place(pictures, where, tmp_path):
    """Names that climb out of the folder, links and folders are no more than names."""
    one = shard(
        tmp_path / "0.tar",
        {
            "00.txt": "Hündin".encode(),
            "00.png": pictures[0],
            "00.seg.png": b"mask",
            "../../climbs.png": pictures[1],
            "../../climbs.txt": b"out",
        },
    )
    with tarfile.open(one, "a") as archive:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    two = shard(tmp_path / "1.tar", {"sub/x.JPG": pictures[2], "sub/x.txt": b""})
    given = f"{tmp_path}/*.tar"
    assert everything(inputs.images(given, where)) == {
        f"{one}/00": pictures[0],
        f"{one}/../../climbs": pictures[1],
        f"{two}/sub/x": pictures[2],
    }
    assert list(everything(inputs.texts(given, where)).values()) == ["Hündin", "out", ""]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.tar", "1.tar"]


def test_shards_that_are_not_whole(pictures, where, tmp_path):
    members = {f"{row}.png": content for row, content in enumerate(pictures)}
    whole = shard(tmp_path / "whole.tar", members).read_bytes()
    ends = (0, 100, 512, len(pictures[0]), len(whole) // 2, len(whole) - 10_240)
    for end in ends:
        (tmp_path / "cut.tar").write_bytes(whole[:end])
        with pytest.raises(AligngapError, match=r"cut\.tar: not a whole, uncompressed tar"):
            inputs.images(str(tmp_path / "cut.tar"), where)
    # Cut off right where a member ends: nothing but the end of the archive is missing.
    with tarfile.open(tmp_path / "whole.tar") as archive:
        last = archive.getmembers()[-1]
        at = last.offset_data + -(-last.size // 512) * 512
    (tmp_path / "cut.tar").write_bytes(whole[:at])
    with pytest.raises(AligngapError, match=f"it should end at byte {at}"):
        inputs.images(str(tmp_path / "cut.tar"), where)
    twice = shard(tmp_path / "twice.tar", {"a.png": pictures[0], "a.jpg": pictures[1]})
    with pytest.raises(AligngapError, match=r"twice\.tar/a has several members"):
        inputs.images(str(twice), where)
    with pytest.raises(AligngapError, match="no member named"):
        inputs.texts(str(twice), where)


def test_lines_are_texts(where, tmp_path):
    file = tmp_path / "texts.txt"
    file.write_bytes("\ufeffein Hund\r\n\r\nline\u2028inside\x0btoo\nlast".encode())
    found = inputs.texts(str(file), where)
    assert everything(found) == {
        "1": "ein Hund",
        "2": "",
        "3": "line\u2028inside\x0btoo",
        "4": "last",
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"texts\.txt is empty"),
        (b"one\ntwo\ncaf\xe9\n", r"texts\.txt line 3: byte 0xe9 is no UTF-8"),
        ("one".encode("utf-16"), "line 1: byte 0xff"),
    ],
)
def test_files_that_hold_no_texts(where, tmp_path, content, words):
    (tmp_path / "texts.txt").write_bytes(content)
    with pytest.raises(AligngapError, match=words):
        inputs.texts(str(tmp_path / "texts.txt"), where)


def test_names_that_stand_for_nothing(where, tmp_path):
    for read in (inputs.images, inputs.texts):
        with pytest.raises(AligngapError, match="nowhere: no such file or folder"):
            read(str(tmp_path / "nowhere"), where)
    with pytest.raises(AligngapError, match="holds no image"):
        inputs.images(str(tmp_path), where)
    (tmp_path / "list.txt").write_text("\n\n")
    with pytest.raises(AligngapError, match="holds no image"):
        inputs.images(str(tmp_path / "list.txt"), where)
    with pytest.raises(AligngapError, match="expected one file of texts"):
        inputs.texts(str(tmp_path), where)


def test_the_digest_knows_a_change(pictures, where, tmp_path):
    for row, content in enumerate(pictures):
        (tmp_path / f"{row}.png").write_bytes(content)
    before = inputs.images(str(tmp_path), where).digest
    assert inputs.images(str(tmp_path), where).digest == before
    os.utime(tmp_path / "0.png", (1, 1))
    touched = inputs.images(str(tmp_path), where).digest
    (tmp_path / "5.png").unlink()
    assert len({before, touched, inputs.images(str(tmp_path), where).digest}) == 3
