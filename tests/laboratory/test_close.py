"""`aligngap gap close`: each method against float64 NumPy, what it writes, its bad input."""

import json
import sys

import numpy as np
import pytest
from scipy.linalg import eig, sqrtm

from aligngap import cli
from aligngap.laboratory import close


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def clouds(rows=60, width=6, seed=0):
    random = np.random.default_rng(seed)
    meaning, offset = random.normal(size=(rows, width)), 1.5 * np.eye(width)[0]
    noise = 0.2 * random.normal(size=(2, rows, width))
    return unit(meaning + noise[0] + offset), unit(meaning + noise[1] - offset)


@pytest.fixture
def folder(tmp_path):
    for name, rows in zip(("image", "text"), clouds(), strict=True):
        np.save(tmp_path / f"{name}.npy", rows.astype(np.float32))
    return tmp_path


def run(folder, *more):
    paths = [f"--image={folder}/image.npy", f"--text={folder}/text.npy", f"--output={folder}/out"]
    return cli.main(["gap", "close", *paths, *more])


def test_centring():
    v, t = clouds()
    for got, x in zip(close.centred(v, t), (v, t), strict=True):
        np.testing.assert_allclose(got, unit(x - x.mean(0)), atol=1e-12)


def test_spectral_rows_are_eigenvectors_of_the_random_walk_laplacian():
    """The dense Laplacian's own eigenvectors, by a general solver; signs are free."""
    v, t = clouds(25)
    a, b, notes = close.spectral(v, t, 4)
    weights = v @ t.T
    assert notes["negative_cosines_clipped"] == pytest.approx((weights < 0).mean())
    weights[weights < 0] = 0
    graph = np.block([[np.zeros((25, 25)), weights], [weights.T, np.zeros((25, 25))]])
    values, vectors = eig(np.eye(50) - graph / graph.sum(1, keepdims=True))
    order = np.argsort(values.real)[1:5]
    np.testing.assert_allclose(notes["eigenvalues"], values.real[order], atol=1e-9)
    # Distances between rows do not depend on the signs; eigenvectors have length 1 in D.
    basis = vectors.real[:, order]
    basis /= np.sqrt((graph.sum(1)[:, None] * basis**2).sum(0))
    expected = unit(basis)
    np.testing.assert_allclose(np.concatenate([a, b]) @ a.T, expected @ expected[:25].T, atol=1e-7)


def test_transport_without_regularisation_is_the_best_matching():
    """Without a Laplacian and with even weights, optimal transport is an assignment."""
    pytest.importorskip("ot")
    from scipy.optimize import linear_sum_assignment

    v, t = clouds(30)
    moved, kept, _ = close.transport(v, t, 0.0, 5)
    rows = linear_sum_assignment(((v[:, None] - t[None]) ** 2).sum(-1))[1]
    np.testing.assert_allclose(moved, t[rows], atol=1e-9)
    assert kept is t


@pytest.mark.parametrize("method", ["mean", "spectral", "transport"])
def test_no_method_reads_which_row_is_whose_pair(method):
    """Texts in another order give the same rows in that order (up to eigenvectors' signs)."""
    if method == "transport":
        pytest.importorskip("ot")
    v, t = clouds(30)
    order = np.random.default_rng(1).permutation(30)
    close_by = {
        "mean": close.centred,
        "spectral": lambda v, t: close.spectral(v, t, 3)[:2],
        "transport": lambda v, t: close.transport(v, t, 1.0, 3)[:2],
    }[method]
    (a, b), (c, d) = close_by(v, t), close_by(v, t[order])
    np.testing.assert_allclose(a @ b[order].T, c @ d.T, atol=1e-6)


def test_frechet_distance():
    v, t = clouds(80)
    s = [np.cov(x, rowvar=False) for x in (v, t)]
    expected = ((v.mean(0) - t.mean(0)) ** 2).sum()
    expected += np.trace(s[0] + s[1] - 2 * sqrtm(s[0] @ s[1]).real)
    assert close.frechet_distance(v, t) == pytest.approx(expected, rel=1e-8)
    assert close.frechet_distance(v, v) == pytest.approx(0, abs=1e-9)
    assert close.frechet_distance(v, v + 2) == pytest.approx(4 * 6, abs=1e-9)


@pytest.mark.parametrize("method", ["mean", "spectral", "transport"])
def test_what_it_writes(folder, method):
    if method == "transport":
        pytest.importorskip("ot")
    assert run(folder, f"--method={method}", "--eigenvectors=5", "--strength=1") == 0
    record = json.loads((folder / "out" / "close.json").read_text())
    v, t = (np.load(folder / "out" / f"{name}.npy") for name in ("image", "text"))
    assert v.dtype == t.dtype == np.float32 and v.shape == t.shape and len(v) == 60
    np.testing.assert_allclose(np.linalg.norm(np.concatenate([v, t]), axis=1), 1, atol=1e-5)
    before, after = record["results"]["before"], record["results"]["after"]
    left = np.linalg.norm(v.astype(float).mean(0) - t.astype(float).mean(0))
    assert after["gap"]["centroid_distance"] == pytest.approx(left, abs=1e-5)
    # 60 pairs leave a sparse graph: the spectral method closes half of it there.
    assert left < 0.6 * before["gap"]["centroid_distance"]
    cosines = v.astype(float) @ t.astype(float).T
    if method != "transport":  # it can put two images on one place: ties
        right = (cosines.argmax(1) == np.arange(60)).mean()
        assert after["retrieval"]["text_retrieval_recall@1"]["value"] == pytest.approx(right)
    assert record["settings"]["seed"] == 0 and record["settings"]["pairs_measured"] == 60
    assert (folder / "out" / "close.svg").exists()


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--eigenvectors=0"], 2, "--eigenvectors"),
        (["--strength=nan"], 2, "--strength"),
        (["--method=spectral", "--eigenvectors=59"], 1, "at most 58"),
        (["--method=spectral", "--most=50"], 1, "--most"),
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
    with pytest.raises(Exception, match="image row 2 has no positive cosine"):
        close.spectral(v, t, 1)


def test_without_the_library_the_error_says_how_to_install(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    assert run(folder, "--method=transport") == 1
    assert "pip install 'POT>=0.9'" in capsys.readouterr().err
