"""`aligngap gap close`: what is fitted and what is judged, what it writes, its bad input."""

import json
import sys

import numpy as np
import pytest
from scipy.linalg import sqrtm

from aligngap import cli
from aligngap.errors import AligngapError
from aligngap.gap.transforms.methods import METHODS, spectral
from aligngap.laboratory import close
from aligngap.laboratory.shared.halves import halves

PAIRS = 200


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def clouds(rows=60, width=6, seed=0):
    random = np.random.default_rng(seed)
    meaning, offset = random.normal(size=(rows, width)), 1.0 * np.eye(width)[0]
    noise = 0.2 * random.normal(size=(2, rows, width))
    return unit(meaning + noise[0] + offset), unit(meaning + noise[1] - offset)


@pytest.fixture
def folder(tmp_path):
    for name, rows in zip(("image", "text"), clouds(PAIRS), strict=True):
        np.save(tmp_path / f"{name}.npy", rows.astype(np.float32))
    return tmp_path


def run(folder, *more):
    paths = [f"--image={folder}/image.npy", f"--text={folder}/text.npy", f"--output={folder}/out"]
    return cli.main(["gap", "close", *paths, *more])


def test_halves_keep_what_shares_an_image_or_a_caption_together():
    label = np.random.default_rng(0).integers(20, size=100)
    fitted, judged = halves(label, 0)
    assert sorted([*fitted, *judged]) == list(range(100))
    assert not set(label[fitted]) & set(label[judged])
    assert len(set(label[fitted])) == 10
    assert list(halves(label, 0)[0]) == list(fitted) != list(halves(label, 1)[0])


@pytest.mark.parametrize("method", ["mean", "whiten", "procrustes"])
def test_what_is_judged_has_no_part_in_what_is_fitted(folder, method):
    """Other rows in the judged half: those of the fitted half come out as they did."""
    given = [np.load(folder / f"{name}.npy") for name in ("image", "text")]
    assert run(folder, f"--method={method}") == 0
    written = [np.load(folder / "out" / f"{name}.npy") for name in ("image", "text")]
    judged = np.load(folder / "out" / "judged_rows.npy")
    fitted = np.setdiff1d(np.arange(PAIRS), judged)
    assert len(judged) == len(fitted) == PAIRS // 2
    for name, rows, seed in zip(("image", "text"), given, (5, 6), strict=True):
        rows[judged] = np.random.default_rng(seed).normal(size=rows[judged].shape) + 3
        np.save(folder / f"{name}.npy", rows)
    assert run(folder, f"--method={method}") == 0
    np.testing.assert_array_equal(np.load(folder / "out" / "judged_rows.npy"), judged)
    for name, rows in zip(("image", "text"), written, strict=True):
        found = np.load(folder / "out" / f"{name}.npy")
        np.testing.assert_array_equal(found[fitted], rows[fitted])
        assert np.abs(found[judged] - rows[judged]).max() > 0.1


def test_frechet_distance():
    v, t = clouds(80)
    s = [np.cov(x, rowvar=False) for x in (v, t)]
    expected = ((v.mean(0) - t.mean(0)) ** 2).sum()
    expected += np.trace(s[0] + s[1] - 2 * sqrtm(s[0] @ s[1]).real)
    assert close.frechet_distance(v, t) == pytest.approx(expected, rel=1e-8)
    assert close.frechet_distance(v, v) == pytest.approx(0, abs=1e-9)
    assert close.frechet_distance(v, v + 2) == pytest.approx(4 * 6, abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_what_it_writes(folder, method):
    more = {"spectral": ["--eigenvectors=5"], "transport": ["--strength=1"]}.get(method, [])
    if method == "transport":
        pytest.importorskip("ot")
    assert run(folder, f"--method={method}", *more) == 0
    record = json.loads((folder / "out" / "close.json").read_text())
    v, t = (np.load(folder / "out" / f"{name}.npy") for name in ("image", "text"))
    assert v.dtype == t.dtype == np.float32 and v.shape == t.shape and len(v) == PAIRS
    np.testing.assert_allclose(np.linalg.norm(np.concatenate([v, t]), axis=1), 1, atol=1e-5)
    before, after = record["results"]["before"], record["results"]["after"]
    judged = np.load(folder / "out" / "judged_rows.npy")
    v, t = v[judged].astype(float), t[judged].astype(float)
    left = np.linalg.norm(v.mean(0) - t.mean(0))
    assert after["gap"]["centroid_distance"] == pytest.approx(left, abs=1e-5)
    if method != "text_principal":  # It takes no mean away.
        # 100 pairs leave a sparse graph: the spectral method closes a third of the gap there.
        assert left < 0.7 * before["gap"]["centroid_distance"]
    if method != "transport":  # it can put two images on one place: ties
        right = ((v @ t.T).argmax(1) == np.arange(len(v))).mean()
        assert after["retrieval"]["text_retrieval_recall@1"]["value"] == pytest.approx(right)
    settings = record["settings"]
    assert (settings["seed"], settings["pairs_fitted"], settings["pairs_measured"]) == (0, 100, 100)
    assert record["results"]["transform"]["method"] == method
    assert (folder / "out" / "close.svg").exists()


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--eigenvectors=0"], 2, "--eigenvectors"),
        (["--method=transport", "--strength=nan"], 2, "--strength"),
        (["--method=spectral", "--eigenvectors=99"], 1, "needs at least 101"),
        (["--method=spectral", "--most=50"], 1, "--most"),
        (["--components=2"], 2, "no option of --method=mean"),
    ],
)
def test_bad_input_is_one_line(folder, capsys, flags, code, words):
    assert run(folder, *flags) == code
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not (folder / "out").exists()


def test_the_files_that_it_reads_are_not_overwritten(folder, capsys):
    before = (folder / "image.npy").read_bytes()
    assert run(folder, f"--output={folder}") == 2
    assert "overwritten" in capsys.readouterr().err
    assert (folder / "image.npy").read_bytes() == before


def test_a_row_without_positive_cosine_is_named():
    v, t = np.eye(5)[:4], np.abs(clouds(4, 5)[1])
    v[2] = -np.ones(5) / np.sqrt(5)
    with pytest.raises(AligngapError, match="image row 2 has no positive cosine"):
        spectral.eigenvectors(v, t, 1)


def test_without_the_library_the_error_says_how_to_install(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    assert run(folder, "--method=transport") == 1
    assert "pip install 'POT>=0.9'" in capsys.readouterr().err


def test_images_that_stand_there_five_times_are_judged_as_one(folder, capsys):
    """The same values as of one caption an image, where captions of an image are equal too."""
    v, t = clouds(PAIRS)
    for name, rows in (("image", v), ("text", t)):
        np.save(folder / f"{name}.npy", np.repeat(rows.astype(np.float32), 5, axis=0))
    assert run(folder) == 0
    five = json.loads((folder / "out" / "close.json").read_text())
    assert five["settings"]["copies"] == {"image": 4 * PAIRS, "text": 4 * PAIRS}
    assert five["results"]["transform"]["copies"] == {"image": 2 * PAIRS, "text": 2 * PAIRS}
    said = "800 image rows and 800 text rows are copies of others: equal rows count once"
    assert said in capsys.readouterr().out
    for name, rows in (("image", v), ("text", t)):
        np.save(folder / f"{name}.npy", rows.astype(np.float32))
    assert run(folder) == 0
    one = json.loads((folder / "out" / "close.json").read_text())
    for when in ("before", "after"):
        found, wanted = (x["results"][when] for x in (five, one))
        assert found["fid"] == pytest.approx(wanted["fid"], abs=1e-5)
        for name, value in wanted["gap"].items():
            assert found["gap"][name] == pytest.approx(value, abs=1e-5), name
        for name, x in wanted["retrieval"].items():
            assert found["retrieval"][name]["value"] == pytest.approx(x["value"], abs=1e-6), name
