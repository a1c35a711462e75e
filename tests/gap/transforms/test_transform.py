"""A transform as a whole: what it is fitted on, saved and loaded, from files, and bad input."""

import argparse
import json
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from aligngap import transform_flags
from aligngap.errors import AligngapError, UsageError
from aligngap.gap import GapTransform
from aligngap.gap.transforms import rows as rows_of
from aligngap.gap.transforms.methods import METHODS
from aligngap.gap.transforms.methods.options import OPTIONS
from aligngap.verbs import gap_fit

import programs


def fit(clouds, method, **more):
    if method == "transport":
        pytest.importorskip("ot")
    if method == "spectral":
        more = {"eigenvectors": 4} | more
    return GapTransform.fit(*clouds[:2], method, clouds[2], **more)


def bits(transform, others):
    """What it makes of rows of each modality, as bytes."""
    return [f(x).tobytes() for f, x in zip((transform.image, transform.text, transform.query),
                                           others, strict=True)]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_saved_and_loaded_it_does_the_same_to_the_bit(clouds, others, tmp_path, method):
    transform = fit(clouds, method, source="two cones", licence="CC0-1.0")
    transform.save(tmp_path / "t")
    loaded = GapTransform.load(tmp_path / "t")
    assert bits(loaded, others) == bits(transform, others)
    assert loaded.about() == transform.about()
    record = json.loads((tmp_path / "t" / "transform.json").read_text())
    assert (record["method"], record["source"], record["licence"]) == (
        method, "two cones", "CC0-1.0")  # fmt: skip
    assert record["fitted_rows"] == {"image": 60, "text": 60, "query": 60}
    assert record["dimension"] == 8
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == [
        "transform.json", "transform.safetensors"]  # fmt: skip
    with pytest.raises(UsageError, match="there already"):
        transform.save(tmp_path / "t")


@pytest.mark.parametrize("method", METHODS)
def test_rows_that_are_judged_do_not_influence_each_other_or_the_fit(clouds, others, method):
    """A row alone, amid others, and amid quite different ones; the transform stays as it was."""
    transform = fit(clouds, method)
    before = bits(transform, others)
    for name, some in zip(("image", "text", "query"), others, strict=True):
        whole = transform.apply(name, some)
        np.testing.assert_allclose(transform.apply(name, some[3:4]), whole[3:4], atol=1e-6)
        strange = some.copy()
        strange[4:] = some[4:] * np.linspace(1, 5, 8) + 0.3
        np.testing.assert_allclose(transform.apply(name, strange)[:4], whole[:4], atol=1e-6)
    assert bits(transform, others) == before
    assert bits(fit(clouds, method), others) == before


@pytest.mark.parametrize("method", METHODS)
def test_lengths_and_chunks_do_not_matter(clouds, others, method, monkeypatch):
    transform = fit(clouds, method)
    wanted = [transform.apply(name, x) for name, x in zip(transform.fitted, others, strict=True)]
    monkeypatch.setattr(rows_of, "GROUPS", 7)
    lengths = np.linspace(0.5, 2, 60)[:, None]
    chunked = fit([x * lengths for x in clouds], method)
    for name, some, expected in zip(transform.fitted, others, wanted, strict=True):
        found = chunked.apply(name, some * 3)
        assert found.shape == expected.shape
        # The signs of eigenvectors are free.
        np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=2e-4)


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16, np.float32])
@pytest.mark.parametrize("method", ["mean", "whiten", "realign", "procrustes"])
def test_half_precision(clouds, others, tmp_path, kind, method):
    """As float64 rows of the same values, from arrays and from files."""
    half, new = ([x.astype(kind) for x in some] for some in (clouds, others))
    wanted = fit([x.astype(np.float64) for x in half], method)
    for name, x in zip(("image", "text", "query"), half, strict=True):
        save_file({"rows": x}, tmp_path / f"{name}.safetensors")
    files = [tmp_path / f"{name}.safetensors" for name in ("image", "text", "query")]
    for found in (fit(half, method), fit(files, method)):
        for name, some in zip(found.fitted, new, strict=True):
            expected = wanted.apply(name, some.astype(np.float64))
            np.testing.assert_allclose(found.apply(name, some), expected, atol=1e-5)


def line(act):
    with pytest.raises(AligngapError) as raised:
        act()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_bad_rows_are_named(clouds, others):
    broken = {"zero": clouds[0].copy(), "not finite": clouds[0].copy()}
    broken["zero"][[5, 7]], broken["not finite"][9, 2] = 0, np.nan
    assert "image: rows 5, 7 are zero" in line(lambda: fit([broken["zero"], *clouds[1:]], "mean"))
    assert "text: row 9 is not finite" in line(
        lambda: fit([clouds[0], broken["not finite"], clouds[2]], "whiten")
    )
    transform = fit(clouds, "mean")
    assert "query: rows 5, 7 are zero" in line(lambda: transform.query(broken["zero"]))
    # A row that is the mean itself has no direction once the mean is gone.
    rows = np.array([[0.6, 0.8], [0.8, 0.6], [0.6, 0.8], [0.8, 0.6]])
    flat = GapTransform.fit(rows, rows, "text_principal", components=1)
    assert "image: row 1 is without a direction once transformed" in line(
        lambda: flat.image(np.array([[1.0, -1.0], [1.0, 1.0]]))
    )


def test_other_dimensions_and_too_few_rows(clouds, others):
    wide = np.concatenate([others[0], others[0]], axis=1)
    assert "image has 8 dimensions and text 16" in line(
        lambda: fit([clouds[0], wide, wide], "mean")
    )
    said = line(lambda: fit(clouds, "mean").text(wide))
    assert "text has 16 dimensions, and the transform was fitted on 8" in said
    few = {
        "mean": (1, 2), "standardise": (1, 2), "realign": (1, 2), "whiten": (8, 9),
        "coral": (8, 9), "procrustes": (8, 9), "ridge": (1, 2), "principal": (1, 2),
        "text_principal": (4, 5), "spectral": (5, 6), "transport": (3, 4),
    }  # fmt: skip
    assert few.keys() == METHODS.keys()
    for method, (rows, least) in few.items():
        some = [x[:rows] for x in clouds]
        said = line(lambda some=some, method=method: fit(some, method))
        assert f"has {rows} distinct rows; --method={method} needs at least {least} of" in said
    assert "needs pairs" in line(lambda: fit([clouds[0], clouds[1][:50], clouds[2]], "procrustes"))
    assert "image has 1 distinct rows" in line(lambda: fit([np.ones((60, 8))] * 3, "whiten"))
    near = np.ones((60, 8)) + 1e-7 * np.random.default_rng(0).normal(size=(60, 8))
    assert "all rows are the same" in line(lambda: fit([near] * 3, "whiten"))
    assert "takes 50: raise --most" in line(lambda: fit(clouds, "spectral", most=50))
    assert "expected one array [N, D]" in line(lambda: fit([clouds[0][0]] * 3, "mean"))
    assert "expected floating-point" in line(lambda: fit([np.ones((60, 8), int)] * 3, "mean"))


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("median", {}, "--method=median: expected one of mean, standardise"),
        ("mean", {"components": 2}, "--components is no option of --method=mean, whose are: none"),
        ("principal", {"components": 0}, "expected a whole number of at least 1"),
        ("principal", {"components": 8}, "8 dimensions"),
        ("whiten", {"shrinkage": 1.5}, "expected a number from 0 to 1"),
        ("whiten", {"shrinkage": float("nan")}, "expected a number from 0 to 1"),
        ("transport", {"strength": -1.0}, "expected a number of at least 0"),
    ],
)
def test_wrong_options(clouds, method, options, words):
    with pytest.raises(UsageError, match=words.replace("(", "\\(")):
        GapTransform.fit(*clouds[:2], method, **options)


def test_what_the_flags_say_is_what_there_is():
    parser = argparse.ArgumentParser()
    transform_flags.add(parser)
    assert vars(parser.parse_args([])).keys() == OPTIONS.keys()
    assert all(name in gap_fit.METHODS for name in METHODS)
    assert {name for each in METHODS.values() for name in each.options} == OPTIONS.keys()


def test_folders_that_hold_no_transform(clouds, tmp_path):
    """Missing, foreign, damaged, and changed by hand."""
    transform = fit(clouds, "mean")
    assert "holds no aligngap gap transform" in line(lambda: GapTransform.load(tmp_path / "none"))

    def changed(name, change):
        folder = tmp_path / name
        transform.save(folder)
        change(folder / "transform.json", folder / "transform.safetensors")
        return line(lambda: GapTransform.load(folder))

    def edited(path, **fields):
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    def moved(path):
        tensors = load_file(path)
        tensors["image.0.origin"][0] += 1e-3
        save_file(tensors, path)

    written = "was changed after it was written"
    assert written in changed("a", lambda j, _: edited(j, licence="mine"))
    assert written in changed("b", lambda _, t: moved(t))
    assert written in changed("c", lambda _, t: t.write_bytes(t.read_bytes()[:-9]))
    for number, act in enumerate(
        [
            lambda j, _: j.write_text("{"),
            lambda j, _: j.write_text("[1]"),
            lambda j, _: j.write_text('{"format": "another"}'),
            lambda j, _: edited(j, format="another"),
            lambda _, t: t.unlink(),
        ]
    ):
        assert "is damaged or no aligngap gap transform" in changed(f"d{number}", act)


def test_arrays_that_do_not_fit_are_refused(clouds, tmp_path):
    """Whole by its digests, and yet no transform."""
    from aligngap.gap.transforms import stored, transform

    good = fit(clouds, "mean")
    record = {**good.about(), "maps": {"image": ["affine"], "text": ["affine"]}}
    arrays = {"origin": np.zeros(8), "weight": np.array(1.0), "target": np.zeros(8)}
    tensors = {f"{side}.0.{name}": x for side in ("image", "text") for name, x in arrays.items()}
    wrong = {
        "shape": (record, tensors | {"image.0.origin": np.zeros(7)}),
        "nan": (record, tensors | {"image.0.weight": np.array(np.nan)}),
        "missing": (record, {k: x for k, x in tensors.items() if k != "text.0.target"}),
        "kind": (record | {"maps": {"image": ["affine"], "text": ["eval"]}}, tensors),
        "side": (record | {"maps": {"image": ["affine"]}}, tensors),
        "dimension": (record | {"dimension": float("inf")}, tensors),
        "rows": (record | {"fitted_rows": {"image": "many", "text": 40}}, tensors),
    }
    for name, (about, held) in wrong.items():
        stored.save(tmp_path / name, transform.FORMAT, about, held)
        said = line(lambda name=name: GapTransform.load(tmp_path / name))
        assert "is damaged or no" in said, name
    stored.save(tmp_path / "good", transform.FORMAT, record, tensors)
    GapTransform.load(tmp_path / "good")


PEAKS = (
    programs.PEAK
    + """
import sys
from aligngap.cli import main
for folder in sys.argv[1:]:
    given = [f"--image={folder}/image.npy", f"--text={folder}/text.npy"]
    assert main(["gap", "fit", *given, "--method=standardise", f"--output={folder}/t"]) == 0
    apply = ["gap", "apply", f"--transform={folder}/t", given[0], f"--output={folder}/out.npy"]
    assert main(apply) == 0
    print("peak", peak())
"""
)


def test_rows_are_never_held_at_once(tmp_path):
    """The peak of memory grows by less than the files: 200 MiB, in half precision."""
    for folder, count in (("few", 5000), ("many", 200_000)):
        (tmp_path / folder).mkdir()
        for name in ("image", "text"):
            rows = np.random.default_rng(0).random((count, 256), np.float32).astype(np.float16)
            np.save(tmp_path / folder / f"{name}.npy", rows)
    command = [sys.executable, "-c", PEAKS, str(tmp_path / "few"), str(tmp_path / "many")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    few, many = (int(each.split()[1]) for each in done.stdout.splitlines() if "peak" in each)
    assert np.load(tmp_path / "many" / "out.npy", mmap_mode="r").shape == (200_000, 256)
    assert many - few < 100


@pytest.mark.parametrize("method", METHODS)
def test_equal_rows_count_once(clouds, others, method):
    """Some rows stand there more often than others: what is fitted is what was, to the bit."""
    often = np.random.default_rng(0).integers(60, size=100)
    more = [np.concatenate([x, x[often]]) for x in clouds]
    plain, copied = fit(clouds, method), fit(more, method)
    assert copied.fitted == plain.fitted == {"image": 60, "text": 60, "query": 60}
    assert copied.copies == {"image": 100, "text": 100, "query": 100}
    assert bits(copied, others) == bits(plain, others)


def test_of_pairs_only_those_that_are_equal_in_both_are_copies(clouds, others):
    """Five captions an image are five pairs to procrustes, and one image to the mean."""
    image = np.repeat(clouds[0][:12], 5, axis=0)
    paired = GapTransform.fit(image, clouds[1], "procrustes")
    assert paired.fitted == {"image": 60, "text": 60}
    mean = GapTransform.fit(image, clouds[1], "mean")
    assert mean.fitted == {"image": 12, "text": 60} and mean.copies == {"image": 48, "text": 0}
