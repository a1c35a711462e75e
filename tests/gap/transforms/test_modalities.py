"""Transforms of further modalities: each method against float64 NumPy, by name, saved, refused."""

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.linalg import inv, orthogonal_procrustes, sqrtm
from scipy.optimize import linear_sum_assignment

from aligngap.errors import AligngapError, UsageError
from aligngap.gap import GapTransform
from aligngap.gap.stores import linear
from aligngap.gap.transforms.methods import METHODS

CLOSE = {"rtol": 0, "atol": 2e-5}  # Inputs are rounded to float32 first.
TAKE_MORE = [name for name in METHODS if name != "spectral"]
PAIRED = [name for name, method in METHODS.items() if method.paired]


def n(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def turned(rows, seed):
    """Of the same items, in a cone of their own."""
    random = np.random.default_rng(seed)
    axes = np.linalg.qr(random.normal(size=(8, 8)))[0]
    return 2 * (n(rows) @ axes + 0.3 * random.normal(size=rows.shape) * np.linspace(0.2, 1, 8))


@pytest.fixture
def more(clouds):
    return {"audio": turned(clouds[1], 3), "depth-map_2": turned(clouds[0], 4)[:45]}


def fit(clouds, method, more, **options):
    if method == "transport":
        pytest.importorskip("ot")
        options = {"strength": 0.0} | options
    if method in PAIRED:
        more = {name: rows for name, rows in more.items() if len(rows) == len(clouds[0])}
    return GapTransform.fit(*clouds[:2], method, clouds[2], others=more, **options)


def covariance(rows):
    return np.cov(rows, rowvar=False, bias=True)


def root(rows):
    matrix = covariance(rows)
    return sqrtm(0.99 * matrix + 0.01 * np.trace(matrix) / 8 * np.eye(8)).real


def realigned(v, x, y):
    trace = (np.linalg.norm(v - v.mean(0), axis=1) ** 2).mean()
    scale = np.sqrt(trace / ((np.linalg.norm(x - x.mean(0), axis=1) ** 2).mean() + 1e-10))
    first = [n(v.mean(0) + scale * (rows - x.mean(0))) for rows in (x, y)]
    return n(first[1] - first[0].mean(0) + v.mean(0))


def transported(t, x, y):
    """Without a Laplacian and with even weights and as many rows, an assignment."""
    to = t[linear_sum_assignment(((x[:, None] - t[None]) ** 2).sum(-1))[1]]
    nearest = ((y[:, None] - x[None]) ** 2).sum(-1).argmin(1)
    return n(y + to[nearest] - x[nearest])


def regressed(x, t, y):
    """By least squares of the pairs below which the rows of the penalty stand."""
    to, own = t - t.mean(0), x - x.mean(0)
    penalty = np.sqrt(0.9 * np.trace(own.T @ own) / len(own) / 8) * np.eye(8)
    pairs = np.sqrt(0.1 / len(own))
    sides = (np.concatenate([pairs * rows, penalty]) for rows in (own, to))
    return n((y - x.mean(0)) @ np.linalg.lstsq(*sides)[0])


def leading(clouds, more):
    """One component of the mean covariance of all but the queries, by singular values."""
    known = [n(x) for x in (*clouds[:2], *more.values())]
    rows = np.concatenate([(x - x.mean(0)) / np.sqrt(len(x)) for x in known])
    return np.linalg.svd(rows)[2][:1].T


@pytest.mark.parametrize("method", TAKE_MORE)
def test_each_method_by_its_formula(clouds, more, method):
    v, t, x = n(clouds[0]), n(clouds[1]), n(more["audio"])
    new = turned(clouds[1] + 0.2 * clouds[0], 7)
    y, mean = n(new), x.mean(0)
    top, u = leading(clouds, more), np.linalg.svd(t - t.mean(0))[2][:4].T
    wanted = {
        "mean": lambda: n(y - mean),
        "standardise": lambda: n((y - mean) / x.std(0)),
        "whiten": lambda: n((y - mean) @ inv(root(x))),
        "coral": lambda: n((y - mean) @ inv(root(x)) @ root(t) + t.mean(0)),
        "realign": lambda: realigned(v, x, y),
        "principal": lambda: n((y - mean) - (y - mean) @ top @ top.T),
        "text_principal": lambda: n(y @ u @ u.T),
        "procrustes": lambda: n((y - mean) @ orthogonal_procrustes(x - mean, t - t.mean(0))[0]),
        "ridge": lambda: regressed(x, t, y),
        "transport": lambda: transported(t, x, y),
    }
    assert [*wanted] == TAKE_MORE
    found = fit(clouds, method, more).apply("audio", new)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted[method](), **CLOSE)


def test_principal_takes_the_same_direction_from_all(clouds, more, others):
    transform, top = fit(clouds, "principal", more), leading(clouds, more)
    for name, rows in zip(("image", "text", "query", "audio"), (*others, others[0]), strict=True):
        assert np.abs(transform.apply(name, rows) @ top).max() < 1e-5


@pytest.mark.parametrize("method", TAKE_MORE)
def test_images_texts_and_queries_are_as_without_others_and_all_is_saved(
    clouds, more, others, tmp_path, method
):
    transform = fit(clouds, method, more)
    plain = fit(clouds, method, {})
    rows = dict(zip(("image", "text", "query"), others, strict=True))
    if method != "principal":  # Whose components are those of all.
        for name, some in rows.items():
            np.testing.assert_array_equal(transform.apply(name, some), plain.apply(name, some))
    transform.save(tmp_path / "t")
    loaded = GapTransform.load(tmp_path / "t")
    names = ["audio"] if method in PAIRED else ["audio", "depth-map_2"]
    assert loaded.modalities == transform.modalities == ("image", "text", "query", *names)
    assert loaded.about() == transform.about()
    for name in loaded.modalities:
        some = rows.get(name, others[0])
        assert loaded.apply(name, some).tobytes() == transform.apply(name, some).tobytes()
    assert [*transform.fitted] == ["image", "text", "query", *names]


def test_stores_find_them_by_name(clouds, more, others):
    transform = fit(clouds, "whiten", more)
    (step,) = linear.steps(transform, "audio")
    wanted = n(n(others[0]) @ step.weight + step.bias)
    np.testing.assert_allclose(transform.apply("audio", others[0]), wanted, **CLOSE)
    with pytest.raises(UsageError, match="knows no modality 'sound'"):
        linear.steps(transform, "sound")


def test_half_precision_from_files_and_copies(clouds, more, others, tmp_path):
    half = np.repeat(more["audio"].astype(np.float16), 2, axis=0)
    save_file({"rows": half}, tmp_path / "a.safetensors")
    found = fit(clouds, "standardise", {"audio": tmp_path / "a.safetensors"})
    assert (found.fitted["audio"], found.copies["audio"]) == (60, 60)
    wanted = fit(clouds, "standardise", {"audio": half[::2].astype(np.float64)})
    np.testing.assert_allclose(
        found.apply("audio", others[0].astype(np.float16)),
        wanted.apply("audio", others[0].astype(np.float16).astype(np.float64)), atol=1e-5,
    )  # fmt: skip


def test_items_that_are_equal_in_all_modalities_are_copies_to_procrustes(clouds, more, others):
    audio = more["audio"]
    image, text = (np.concatenate([x, x[:20]]) for x in clouds[:2])
    same = np.concatenate([audio, audio[:20]])
    found = GapTransform.fit(image, text, "procrustes", others={"audio": same})
    assert found.copies == {"image": 20, "text": 20, "audio": 20}
    plain = GapTransform.fit(*clouds[:2], "procrustes", others={"audio": audio})
    assert found.apply("audio", others[0]).tobytes() == plain.apply("audio", others[0]).tobytes()
    unlike = np.concatenate([audio, -audio[:20]])
    assert GapTransform.fit(image, text, "procrustes", others={"audio": unlike}).copies == {
        "image": 0, "text": 0, "audio": 0}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "rows", "method", "kind", "words"),
    [
        ("image", 60, "mean", UsageError, "modality 'image': expected a name of letters, digits"),
        ("query", 60, "mean", UsageError, "other than image, text, query"),
        ("a.b", 60, "mean", UsageError, "modality 'a.b': expected a name"),
        ("", 60, "mean", UsageError, "modality '': expected a name"),
        ("audio\n", 60, "mean", UsageError, "expected a name"),
        (3, 60, "mean", UsageError, "modality 3: expected a name"),
        ("audio", 60, "spectral", UsageError, "alone, not audio; expected one of mean, standard"),
        ("audio", 50, "procrustes", AligngapError, "audio has 50 rows and text 60"),
        ("audio", 8, "whiten", AligngapError, "audio has 8 distinct rows; --method=whiten needs"),
    ],
)
def test_what_is_refused(clouds, more, name, rows, method, kind, words):
    with pytest.raises(kind) as raised:
        GapTransform.fit(*clouds[:2], method, others={name: more["audio"][:rows]})
    assert words in str(raised.value) and "\n" not in str(raised.value)


def test_other_dimensions_zeros_and_unknown_names_are_refused(clouds, more, others):
    wide = np.ones((60, 9))
    with pytest.raises(AligngapError, match="image has 8 dimensions and audio 9"):
        fit(clouds, "mean", {"audio": wide})
    broken = more["audio"].copy()
    broken[4] = 0
    with pytest.raises(AligngapError, match="audio: row 4 is zero"):
        fit(clouds, "mean", {"audio": broken})
    with pytest.raises(UsageError, match=r"no modality 'video'; .* text, query, audio"):
        fit(clouds, "mean", {"audio": more["audio"]}).apply("video", others[0])
    few = [x[:50] for x in clouds[:2]]
    with pytest.raises(AligngapError, match=r"audio has 60 distinct rows; .* takes 59: raise"):
        GapTransform.fit(*few, "transport", others={"audio": more["audio"]}, most=59)
