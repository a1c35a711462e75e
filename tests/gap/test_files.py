"""Embeddings in files: every format the same, strangers' files refused in one line."""

import io
import json
import zipfile

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from aligngap import gap
from aligngap.errors import AligngapError, UsageError
from aligngap.gap import files, streaming


@pytest.fixture
def pair(unit_rows):
    """Forty pairs as float32, captions on the other side of the origin."""
    v, t = unit_rows(40, 6, 0), unit_rows(40, 6, 1) - 0.4
    return v.astype(np.float32), (t / np.linalg.norm(t, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def saved(pair, tmp_path):
    """Both as .npy files."""
    for name, rows in zip(("image", "text"), pair, strict=True):
        np.save(tmp_path / f"{name}.npy", rows)
    return tmp_path / "image.npy", tmp_path / "text.npy"


def values(*given, **options):
    found = files.measure(*given, **options)
    return {name: x.value for name, x in found.intervals.items()}


def test_the_file_holds_what_is_printed_and_what_python_says(pair, saved, tmp_path):
    found = files.measure(*saved, tmp_path / "out")
    written = json.loads((tmp_path / "out" / "gap.json").read_text())
    summary = gap.summary(*pair)
    assert written["measures"].keys() == summary.keys()
    for name, value in summary.items():
        assert written["measures"][name]["value"] == pytest.approx(value, abs=1e-6), name
        assert any(line.startswith(f"{name} ") for line in files.table(found).splitlines())
    assert (written["pairs"], written["dimension"], written["sampled"]) == (40, 6, None)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(pair, saved, tmp_path, save):
    """Stored members are mapped where they lie, compressed ones are read."""
    save(tmp_path / "both.npz", **dict(zip(("a/image", "text"), pair, strict=True)))
    both = tmp_path / "both.npz"
    got = values(f"{both}:a/image", f"{both}:text", tmp_path / "out")
    assert got == values(*saved, tmp_path / "out")
    save(tmp_path / "one.npz", only=pair[0])
    np.testing.assert_array_equal(files.load(tmp_path / "one.npz"), files.load(saved[0]))


def test_safetensors(pair, saved, tmp_path):
    save_file(dict(zip(("image", "text"), pair, strict=True)), tmp_path / "both.safetensors")
    both = tmp_path / "both.safetensors"
    got = values(f"{both}:image", f"{both}:text", tmp_path / "out")
    assert got == values(*saved, tmp_path / "out")


@pytest.mark.parametrize("kind", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_other_floats(pair, tmp_path, kind):
    """Read as float32, and at length 1 again."""
    path = tmp_path / "rows.safetensors"
    save_file({"rows": pair[0].astype(kind)}, path)
    rows = files.load(path)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    rounded = pair[0].astype(kind).astype(np.float32)
    wanted = rounded / np.linalg.norm(rounded, axis=1, keepdims=True)
    np.testing.assert_allclose(rows, wanted, atol=1e-6)


def test_fortran_order(pair, saved, tmp_path):
    np.save(tmp_path / "columns.npy", np.asfortranarray(pair[0]))
    np.testing.assert_array_equal(files.load(tmp_path / "columns.npy"), files.load(saved[0]))
    np.savez(tmp_path / "columns.npz", rows=np.asfortranarray(pair[0]))
    np.testing.assert_array_equal(files.load(tmp_path / "columns.npz"), files.load(saved[0]))


def test_lengths_do_not_matter_and_are_spoken_of_once(pair, saved, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(files, "GROUPS", 16)
    monkeypatch.setattr(streaming, "GROUPS", 16)
    whole = values(*saved, tmp_path / "out")
    assert "length 1" not in capsys.readouterr().err
    np.save(tmp_path / "long.npy", pair[0] * np.arange(1, 41, dtype=np.float32)[:, None])
    got = values(tmp_path / "long.npy", saved[1], tmp_path / "out")
    assert capsys.readouterr().err.count("long.npy: rows were not of length 1; normalised") == 1
    for name, value in whole.items():
        assert got[name] == pytest.approx(value, abs=1e-6), name


def test_a_sample_is_stated(saved, tmp_path):
    found = files.measure(*saved, tmp_path / "out", exact_pairs=25)
    written = json.loads((tmp_path / "out" / "gap.json").read_text())
    assert written["sampled"]["pairs"] == 25 and written["seed"] == 0
    assert "cross_uniformity" in written["sampled"]["measures"]
    assert "centroid_distance" not in written["sampled"]["measures"]
    table = files.table(found)
    assert "* of 25 pairs drawn at random (seed 0)" in table
    lines = {line.split()[0]: line for line in table.splitlines()}
    assert lines["cross_uniformity"].endswith("*") and lines["centroid_distance"].endswith("]")


@pytest.mark.parametrize("kind", ["npy numbers", "npy strings", "lines"])
def test_labels(pair, saved, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(files, "GROUPS", 16)
    monkeypatch.setattr(streaming, "GROUPS", 16)
    of = np.arange(40) % 3
    if kind == "lines":
        path = tmp_path / "labels.txt"
        path.write_text("".join(f"{label}\n" for label in of))
    else:
        path = tmp_path / "labels.npy"
        np.save(path, of.astype(str) if kind == "npy strings" else of)
    found = files.measure(*saved, tmp_path / "out", labels=path)
    written = json.loads((tmp_path / "out" / "gap.json").read_text())["labels"]
    assert list(written) == ["0", "1", "2"]
    for label, entry in written.items():
        v, t = (x[of == int(label)] for x in pair)
        assert entry["pairs"] == len(v)
        assert entry["centroid_distance"] == pytest.approx(float(gap.centroid_distance(v, t)), 1e-5)
        assert entry["alignment_score"] == pytest.approx(float(gap.alignment_score(v, t)), 1e-5)
    assert "label " in files.table(found)


@pytest.mark.parametrize(
    ("contents", "words"),
    [("a\nb\n", "holds 2 labels for 40 pairs; expected one each"), (None, "not a readable")],
)
def test_labels_that_are_none(saved, tmp_path, contents, words):
    path = tmp_path / "labels.txt"
    if contents is not None:
        path.write_text(contents)
    with pytest.raises(AligngapError, match=words):
        files.measure(*saved, tmp_path / "out", labels=path)
    assert not (tmp_path / "out").exists()


def test_pickled_labels_are_not_opened(saved, tmp_path):
    np.save(tmp_path / "labels.npy", np.array([{}] * 40), allow_pickle=True)
    with pytest.raises(AligngapError, match=r"labels\.npy: .*it holds Python objects"):
        files.measure(*saved, tmp_path / "out", labels=tmp_path / "labels.npy")


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_several_arrays_are_listed(pair, saved, tmp_path, suffix):
    arrays = dict(zip(("image", "text"), pair, strict=True))
    path = tmp_path / f"both.{suffix}"
    (np.savez(path, **arrays) if suffix == "npz" else save_file(arrays, path))
    for given, words in ((path, "2 arrays"), (f"{path}:texts", "no array 'texts'")):
        with pytest.raises(AligngapError, match=rf"{words}; name one as .*:NAME out of: image, te"):
            files.measure(given, saved[1], tmp_path / "out")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[1, 0], [0, 0], [1, 0]], "row 1 is zero"),
        ([[1, 0], [np.nan, 0], [np.inf, 0]], "rows 1, 2 are not finite"),
        ([[1e200, 0], [1, 0], [1, 0]], "row 0 is not finite"),
        ([[np.nan, 0]] * 9, r"rows 0, 1, 2, 3, 4, \.\.\. are"),
    ],
)
def test_bad_rows_are_named(tmp_path, rows, words):
    np.save(tmp_path / "rows.npy", np.array(rows, float))
    with pytest.raises(AligngapError, match=rf"rows\.npy: {words}"):
        files.load(tmp_path / "rows.npy")


def test_rows_are_counted_over_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "GROUPS", 4)
    rows = np.ones((11, 2))
    rows[9] = 0
    np.save(tmp_path / "rows.npy", rows)
    with pytest.raises(AligngapError, match="row 9 is zero"):
        files.load(tmp_path / "rows.npy")


def headed(kind, shape):
    """A .npy of a few bytes that claims so much."""
    about = b"{'descr': %s, 'fortran_order': False, 'shape': %s}" % (kind, shape)
    return b"\x93NUMPY\1\0" + len(about).to_bytes(2, "little") + about + bytes(24)


def packed(npy):
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npy)
    return written.getvalue()


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("short.npy", b"\x93NUMPY"),
        ("text.npy", b"hello, this is text"),
        ("empty.npy", b""),
        ("text.npz", b"hello, this is text"),
        ("text.safetensors", b"hello, this is text"),
        ("switch.npy", headed(b"'<f4'", b"(True, 3)")),
        ("nothing.npy", headed(b"'S0'", b"(-1,)")),  # Of which NumPy dies.
        ("absurd.npy", headed(b"'<f4'", b"(%d, 3)" % 10**24)),
        ("open.npy", headed(b"'<f4'", b"((((")),
        ("long.npy", b"\x93NUMPY\2\0\xff\xff\xff\xff{'descr'"),
        ("absurd.npz", packed(headed(b"'<f4'", b"(%d, 3)" % 10**12))),
        ("long.npz", packed(b"\x93NUMPY\2\0\xff\xff\xff\x3f" + bytes(2**16))),
    ],
)
def test_files_that_hold_no_array(tmp_path, name, contents):
    (tmp_path / name).write_bytes(contents)
    with pytest.raises(AligngapError, match=r"not a readable \.\w+ array") as error:
        files.load(tmp_path / name)
    assert "pickle" not in str(error.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_object_arrays_are_not_unpickled(tmp_path, save):
    save(tmp_path / "objects.npz", rows=np.array([{}] * 3), allow_pickle=True)
    with pytest.raises(AligngapError, match=r"objects\.npz.*it holds Python objects; expected"):
        files.load(f"{tmp_path / 'objects.npz'}:rows")


def test_a_npz_by_another_name_is_called_one(pair, tmp_path):
    np.savez(tmp_path / "both.npz", *pair)
    (tmp_path / "both.npz").rename(tmp_path / "both.npy")
    with pytest.raises(AligngapError, match=r"a \.npz file must be named \*\.npz"):
        files.load(tmp_path / "both.npy")


@pytest.mark.parametrize(
    "array", [np.ones(3), np.ones((0, 3)), np.ones((3, 1)), np.ones((2, 2, 2)), np.array(1.0)]
)
def test_shapes_that_are_no_embeddings(tmp_path, array):
    np.save(tmp_path / "array.npy", array)
    with pytest.raises(AligngapError, match=r"expected one array \[N, D\]"):
        files.load(tmp_path / "array.npy")


def test_whole_numbers_are_no_embeddings(tmp_path):
    np.save(tmp_path / "array.npy", np.ones((3, 3), int))
    with pytest.raises(AligngapError, match="expected floating-point numbers, found int64"):
        files.load(tmp_path / "array.npy")


def test_a_stored_array_that_ends_early(tmp_path):
    np.savez(tmp_path / "whole.npz", rows=np.ones((400, 8)))
    with zipfile.ZipFile(tmp_path / "whole.npz") as archive:
        entry = archive.read("rows.npy")
    with zipfile.ZipFile(tmp_path / "cut.npz", "w") as archive:
        archive.writestr("rows.npy", entry[:-2000])
    with pytest.raises(AligngapError, match=r"cut\.npz"):
        files.load(tmp_path / "cut.npz")


def test_one_pair_as_a_sample_is_wrong_usage(saved, tmp_path):
    with pytest.raises(UsageError, match="--exact_pairs=1"):
        files.measure(*saved, tmp_path / "out", exact_pairs=1)


def test_strings_that_are_none(saved, tmp_path):
    """Numbers beyond Unicode, of which Python makes no text."""
    np.save(tmp_path / "labels.npy", np.full(40, 2**30, np.uint32).view("<U1"))
    with pytest.raises(AligngapError, match=r"labels\.npy: its strings are damaged"):
        files.measure(*saved, tmp_path / "out", labels=tmp_path / "labels.npy")


def test_a_mark_before_labels_is_no_part_of_the_first(saved, tmp_path):
    """As Windows' editors write it."""
    (tmp_path / "labels.txt").write_text("\ufeffcat\n" + "dog\n" * 20 + "cat\n" * 19, "utf-8")
    found = files.measure(*saved, tmp_path / "out", labels=tmp_path / "labels.txt")
    assert {name: of["pairs"] for name, of in found.labels.items()} == {"cat": 20, "dog": 20}
