"""Each method on rows that it was not fitted on, against float64 NumPy written from its formula."""

import numpy as np
import pytest
from scipy.linalg import eig, inv, orthogonal_procrustes, sqrtm
from scipy.optimize import linear_sum_assignment
from sklearn.preprocessing import StandardScaler

from aligngap.errors import AligngapError
from aligngap.gap import GapTransform
from aligngap.gap.transforms.methods import METHODS

CLOSE = {"rtol": 0, "atol": 2e-5}  # Inputs are rounded to float32 first.


def n(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def fitted_and_new(clouds, others):
    return [n(x) for x in clouds], [n(x) for x in others]


def applied(transform, others):
    return [f(x) for f, x in zip((transform.image, transform.text, transform.query), others,
                                 strict=True)]  # fmt: skip


def same(found, wanted):
    for got, expected in zip(found, wanted, strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, **CLOSE)


def test_mean(clouds, others):
    fitted, new = fitted_and_new(clouds, others)
    wanted = [n(y - x.mean(0)) for x, y in zip(fitted, new, strict=True)]
    image, text, query = clouds
    same(applied(GapTransform.fit(image, text, "mean", query), others), wanted)
    # Without queries of their own, queries are texts.
    wanted[2] = n(new[2] - fitted[1].mean(0))
    same(applied(GapTransform.fit(image, text, "mean"), others), wanted)


def test_standardise(clouds, others):
    fitted, new = fitted_and_new(clouds, others)
    wanted = [n(StandardScaler().fit(x).transform(y)) for x, y in zip(fitted, new, strict=True)]
    same(applied(GapTransform.fit(*clouds[:2], "standardise", clouds[2]), others), wanted)


def test_standardise_leaves_out_a_constant_dimension():
    random = np.random.default_rng(0)
    angle = random.uniform(0, 2 * np.pi, size=(2, 40))
    rows = np.stack([0.6 * np.cos(angle), 0.6 * np.sin(angle), np.full((2, 40), 0.8)], axis=-1)
    found = GapTransform.fit(rows[0], rows[1], "standardise").image(rows[0])
    assert np.abs(found[:, 2]).max() == 0
    np.testing.assert_allclose(
        found[:, :2], n(StandardScaler().fit_transform(rows[0][:, :2])), **CLOSE
    )


def shrunk(rows, share):
    matrix = np.cov(rows, rowvar=False, bias=True)
    return (1 - share) * matrix + share * np.trace(matrix) / len(matrix) * np.eye(len(matrix))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.4])
def test_whiten(clouds, others, share):
    fitted, new = fitted_and_new(clouds, others)
    roots = [inv(sqrtm(shrunk(x, share)).real) for x in fitted]
    wanted = [n((y - x.mean(0)) @ r) for x, y, r in zip(fitted, new, roots, strict=True)]
    transform = GapTransform.fit(*clouds[:2], "whiten", clouds[2], shrinkage=share)
    same(applied(transform, others), wanted)
    if not share:
        white = (fitted[0] - fitted[0].mean(0)) @ transform.maps["image"][0].weight
        np.testing.assert_allclose(np.cov(white, rowvar=False, bias=True), np.eye(8), atol=1e-4)


def test_coral(clouds, others):
    (v, t, q), new = fitted_and_new(clouds, others)
    colour, mean = sqrtm(shrunk(t, 0.01)).real, t.mean(0)
    wanted = [
        n((y - x.mean(0)) @ inv(sqrtm(shrunk(x, 0.01)).real) @ colour + mean)
        for x, y in ((v, new[0]), (q, new[2]))
    ]
    transform = GapTransform.fit(*clouds[:2], "coral", clouds[2])
    same(applied(transform, others), [wanted[0], new[1], wanted[1]])
    assert GapTransform.fit(*clouds[:2], "coral").query(others[2]) == pytest.approx(
        new[2], abs=2e-5
    )


def test_realign(clouds, others):
    """Step by step as NEWER works print it; the second mean is that of the fitted rows."""
    (v, t, q), new = fitted_and_new(clouds, others)
    mean = v.mean(0)
    trace = (np.linalg.norm(v - mean, axis=1) ** 2).mean()
    wanted = [new[0]]
    for x, y in ((t, new[1]), (q, new[2])):
        own = x.mean(0)
        s = np.sqrt(trace / ((np.linalg.norm(x - own, axis=1) ** 2).mean() + 1e-10))
        drifted = n(mean + s * (x - own)).mean(0)
        wanted.append(n(n(mean + s * (y - own)) - drifted + mean))
    same(applied(GapTransform.fit(*clouds[:2], "realign", clouds[2]), others), wanted)


@pytest.mark.parametrize("count", [1, 3])
def test_principal(clouds, others, count):
    """The components by singular values of both centred clouds below each other."""
    fitted, new = fitted_and_new(clouds, others)
    stacked = np.concatenate([x - x.mean(0) for x in fitted[:2]])
    top = np.linalg.svd(stacked)[2][:count]
    wanted = []
    for x, y in zip(fitted, new, strict=True):
        moved = y - x.mean(0)
        wanted.append(n(moved - (moved @ top.T) @ top))
    more = {} if count == 1 else {"components": count}  # The default is D/100, at least 1.
    same(applied(GapTransform.fit(*clouds[:2], "principal", clouds[2], **more), others), wanted)


def test_text_principal(clouds, others):
    (_, t, _), new = fitted_and_new(clouds, others)
    u = np.linalg.svd(t - t.mean(0))[2][:4].T  # D/2
    same(applied(GapTransform.fit(*clouds[:2], "text_principal"), others),
         [n(y @ u @ u.T) for y in new])  # fmt: skip


def test_procrustes(clouds, others):
    (v, t, q), new = fitted_and_new(clouds, others)
    r = orthogonal_procrustes(v - v.mean(0), t - t.mean(0))[0]
    wanted = [n((new[0] - v.mean(0)) @ r), n(new[1] - t.mean(0)), n(new[2] - q.mean(0))]
    same(applied(GapTransform.fit(*clouds[:2], "procrustes", clouds[2]), others), wanted)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_ridge(clouds, others, share):
    """By least squares of the pairs below which the rows of the penalty stand."""
    (v, t, q), new = fitted_and_new(clouds, others)
    x, y = v - v.mean(0), t - t.mean(0)
    penalty = np.sqrt(share * np.trace(x.T @ x) / len(x) / 8) * np.eye(8)
    pairs = np.sqrt((1 - share) / len(x))
    turned = np.linalg.lstsq(
        np.concatenate([pairs * x, penalty]), np.concatenate([pairs * y, penalty])
    )[0]
    wanted = [n((new[0] - v.mean(0)) @ turned), n(new[1] - t.mean(0)), n(new[2] - q.mean(0))]
    transform = GapTransform.fit(*clouds[:2], "ridge", clouds[2], shrinkage=share)
    same(applied(transform, others), wanted)
    if share == 1:
        mean = GapTransform.fit(*clouds[:2], "mean", clouds[2])
        same(applied(transform, others), applied(mean, others))


def test_ridge_takes_fewer_pairs_than_dimensions(clouds):
    image, text, query = (rows[:6] for rows in clouds)
    found = GapTransform.fit(image, text, "ridge", query).image(image)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    with pytest.raises(AligngapError, match="needs at least 9 of 8 dimensions"):
        GapTransform.fit(image, text, "ridge", query, shrinkage=0)


def test_only_paired_methods_read_which_row_is_whose_pair(clouds, others):
    v, t, q = clouds
    order = np.random.default_rng(1).permutation(len(t))
    for method in METHODS:
        more = {"spectral": {"eigenvectors": 4}, "ridge": {"shrinkage": 0.1}}.get(method, {})
        if method == "transport":
            pytest.importorskip("ot")
            more = {"strength": 1.0}
        one, two = (GapTransform.fit(v, x, method, q, **more) for x in (t, t[order]))
        products = [f.image(others[0]) @ f.text(others[1]).T for f in (one, two)]
        apart = np.abs(products[0] - products[1]).max()
        assert (apart > 0.1) if METHODS[method].paired else (apart < 1e-4), method


def test_spectral_rows_that_were_fitted_are_the_laplacians_eigenvectors(clouds):
    """By a general solver of the dense matrix; signs are free, distances between rows are not."""
    v, t = (n(x)[:30] for x in clouds[:2])
    transform = GapTransform.fit(v, t[:24], "spectral", eigenvectors=4)
    weights = np.maximum(v @ t[:24].T, 0)
    graph = np.block([[np.zeros((30, 30)), weights], [weights.T, np.zeros((24, 24))]])
    degrees = graph.sum(1)
    values, vectors = eig(np.eye(54) - graph / degrees[:, None])
    basis = vectors.real[:, np.argsort(values.real)[1:5]]
    basis /= np.sqrt((degrees[:, None] * basis**2).sum(0))
    wanted = n(basis)
    found = np.concatenate([transform.image(v), transform.text(t[:24])])
    np.testing.assert_allclose(found @ found.T, wanted @ wanted.T, atol=1e-4)
    # Nyström's extension: a new text's place is that of the mean of its images by edges.
    new = np.maximum(t[24:] @ v.T, 0)
    places = (new / new.sum(1, keepdims=True)) @ (basis[:30] / (1 - np.sort(values.real)[1:5]))
    extended = transform.query(t[24:])
    np.testing.assert_allclose(extended @ found.T, n(places) @ wanted.T, atol=1e-4)


def test_transport_moves_fitted_rows_to_the_best_matching_and_others_as_the_nearest(clouds, others):
    """Without a Laplacian and with even weights, optimal transport is an assignment."""
    pytest.importorskip("ot")
    (v, t, _), new = fitted_and_new(clouds, others)
    transform = GapTransform.fit(*clouds[:2], "transport", strength=0.0)
    rows = linear_sum_assignment(((v[:, None] - t[None]) ** 2).sum(-1))[1]
    np.testing.assert_allclose(transform.image(v), t[rows], **CLOSE)
    nearest = ((new[0][:, None] - v[None]) ** 2).sum(-1).argmin(1)
    wanted = n(new[0] + t[rows][nearest] - v[nearest])
    same([transform.image(others[0]), transform.text(others[1])], [wanted, new[1]])
