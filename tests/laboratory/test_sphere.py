"""The 6-pair toy against a float64 NumPy loss, its closed form, and what the paper shows."""

import argparse
import json

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from aligngap import cli
from aligngap.errors import UsageError
from aligngap.laboratory import sphere

OFFSETS = np.linspace(-90, 90, 361)


def reference(azimuth: float, offset: float, scale: float, mismatched: bool) -> float:
    """Mean of both cross-entropies, a pair at a time, from angles: no vectors, no matrices."""
    images = [azimuth * i for i in range(6)]
    texts = list(images)
    if mismatched:
        texts[0], texts[1] = texts[1], texts[0]
    down = np.cos(np.radians(offset))
    logit = [[scale * down * np.cos(np.radians(v - t)) for t in texts] for v in images]
    total = 0.0
    for i in range(6):
        to_texts = np.log(sum(np.exp(logit[i][j] - logit[i][i]) for j in range(6)))
        to_images = np.log(sum(np.exp(logit[j][i] - logit[i][i]) for j in range(6)))
        total += (to_texts + to_images) / 2
    return total / 6


def found(*flags: str) -> sphere.Result:
    parser = argparse.ArgumentParser()
    sphere.add_flags(parser)
    return sphere.run(parser.parse_args(flags))


@pytest.mark.parametrize("azimuth", [15.0, 20.0])
@pytest.mark.parametrize("mismatched", [False, True])
def test_landscapes_against_numpy(azimuth, mismatched):
    for scale in (1.0, 35.0, 100.0):
        got = sphere.landscape(azimuth, OFFSETS, scale, mismatched).losses
        wanted = [reference(azimuth, offset, scale, mismatched) for offset in OFFSETS]
        np.testing.assert_allclose(got, wanted, atol=2e-7 * max(scale, 10))


def test_points_are_where_the_toy_says():
    image, text = (np.asarray(x, np.float64) for x in sphere.points(15.0, 40.0, True))
    for x in (image, text):
        np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(image[:, 2], 0, atol=1e-7)
    np.testing.assert_allclose(np.degrees(np.arcsin(text[:, 2])), 40, atol=1e-4)
    azimuths = [np.degrees(np.arctan2(x[:, 1], x[:, 0])) for x in (image, text)]
    np.testing.assert_allclose(azimuths[0], [0, 15, 30, 45, 60, 75], atol=1e-4)
    np.testing.assert_allclose(azimuths[1], [15, 0, 30, 45, 60, 75], atol=1e-4)


@pytest.mark.parametrize("azimuth", [15.0, 20.0])
def test_mismatched_pairs_repel_on_both_sides_at_scale_100_and_matched_pairs_do_not(azimuth):
    mismatched = sphere.landscape(azimuth, OFFSETS, 100.0, True)
    assert mismatched.two_sided()
    low, high = mismatched.minima
    assert low.offset == pytest.approx(-high.offset, abs=0.5)
    on_equator = reference(azimuth, 0, 100, True)
    assert max(low.loss, high.loss) < on_equator - 0.3
    for scale in sphere.SCALES:
        matched = sphere.landscape(azimuth, OFFSETS, scale, False)
        assert [minimum.offset for minimum in matched.minima] == [0.0]
        assert not matched.two_sided()


@pytest.mark.parametrize("azimuth", [5.0, 15.0, 20.0, 60.0])
def test_minima_lie_where_the_closed_form_puts_them(azimuth):
    """cos Δθ = onset / s, and at 0 below the onset; the onset from the float64 loss."""
    onset = minimize_scalar(
        lambda log: reference(azimuth, 0, np.exp(log), True), bounds=(-2, 7), method="bounded",
        options={"xatol": 1e-9},
    )  # fmt: skip
    onset = float(np.exp(onset.x))
    assert sphere.onset_scale(azimuth) == pytest.approx(onset, rel=5e-3)
    for scale in (0.5 * onset, 2.0 * onset):
        got = [m.offset for m in sphere.landscape(azimuth, OFFSETS, scale, True).minima]
        wanted = np.degrees(np.arccos(min(1, onset / scale)))
        np.testing.assert_allclose(got, [-wanted, wanted] if wanted else [0], atol=0.75)


def test_minima_of_two_wells_a_flat_floor_and_noise():
    x = np.linspace(-3, 3, 601)
    noise = np.random.default_rng(0).uniform(-5e-8, 5e-8, x.size)
    wells = sphere.minima(x, (x**2 - 1) ** 2 + noise, 1.0)
    np.testing.assert_allclose([m.offset for m in wells], [-1, 1], atol=0.02)
    (floor,) = sphere.minima(x, np.maximum(np.abs(x - 0.5), 1) + noise, 1.0)
    assert floor.offset == pytest.approx(0.5, abs=0.01)
    assert sphere.minima(x, x, 1.0) == []


def test_the_verb_writes_data_and_picture(tmp_path, capsys):
    assert cli.main(["gap", "sphere", f"--output={tmp_path}", "--step=1"]) == 0
    assert capsys.readouterr().out.count("two-sided repulsion") == 2
    record = json.loads((tmp_path / "sphere.json").read_text())
    assert record["settings"]["azimuth_degrees"] == 15
    results = record["results"]
    assert len(results["offsets_degrees"]) == 181
    for case, landscapes in results["cases"].items():
        for one in landscapes:
            repelled = case == "mismatched" and one["scale"] > results["onset_scale"]
            assert one["two_sided_repulsion"] == repelled
            middle = reference(15, 0, one["scale"], case == "mismatched")
            assert one["losses"][90] == pytest.approx(middle, abs=2e-5)
    picture = (tmp_path / "sphere.svg").read_text()
    assert "(degrees)" in picture and "(nats)" in picture and "mismatched" in picture


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--azimuth=0"], "--azimuth=0"),
        (["--azimuth=nan"], "--azimuth=nan"),
        (["--scales", "5", "0"], "--scales: 0"),
        (["--scales", "inf"], "--scales: inf"),
        (["--step=0"], "--step=0"),
    ],
)
def test_bad_flags(flags, word):
    with pytest.raises(UsageError, match=word) as caught:
        found(*flags)
    assert "\n" not in str(caught.value)
