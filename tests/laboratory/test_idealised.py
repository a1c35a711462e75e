"""The gap that the loss opens by itself: on real pictures, and with free points."""

import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from aligngap.cli import main
from aligngap.laboratory.idealised import free_points
from aligngap.laboratory.shared.two_sides import batch_rows


@pytest.mark.corpus
def test_identical_images_part_as_the_loss_falls(pictograms_dir, tmp_path, capsys):
    given = ["--images=256", "--steps=150", "--batch", "32", "--dimension", "128", "--seeds=1"]
    where = [f"--data_dir={pictograms_dir}", f"--output={tmp_path}", "--epochs=5"]
    assert main(["gap", "idealised", *given, *where]) == 0
    assert "batch 32, D 128" in capsys.readouterr().out
    record = json.loads((tmp_path / "idealised.json").read_text())
    (training,) = record["results"]["trainings"]
    assert record["settings"]["images"] == 256 and training["seed"] == 0
    assert training["loss"][-1] < 0.5 < training["loss"][0]
    # Procrustes has closed the gap at the start; at the end a plane tells the sides apart.
    before, after = training["centroid_distance"][0], training["centroid_distance"][-1]
    assert before < 0.08 < after
    assert training["separability"][1] > 0.9
    assert (tmp_path / "idealised.svg").read_text().startswith("<?xml")
    assert Image.open(tmp_path / "idealised_points.gif").n_frames > 5


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--images=10", "--batch", "64"], "--batch=64 is more than --images=10"),
        (["--seeds=0"], "≥ 1"),
        (["--dimension", "1"], "≥ 2"),
        (["--sizes=1"], "--sizes=1"),
    ],
)
def test_sizes_that_cannot_be(tmp_path, capsys, flags, words):
    assert main(["gap", "idealised", f"--output={tmp_path}", *flags]) == 2
    assert words in capsys.readouterr().err


def test_each_epoch_sees_every_image_once():
    key = jax.random.key(0)
    epochs = [
        np.concatenate([batch_rows(key, jnp.int32(n), 12, 4) for n in range(start, start + 3)])
        for start in (0, 3)
    ]
    assert [sorted(epoch.tolist()) for epoch in epochs] == [list(range(12))] * 2
    assert not np.array_equal(*epochs)


def test_free_points_stay_on_the_sphere_and_follow_the_loss():
    flight = free_points.fly(64, epochs=200, seed=0)
    again = free_points.fly(64, epochs=200, seed=0)
    for sides in flight.points:
        for side in sides:
            np.testing.assert_allclose(np.linalg.norm(side, axis=1), 1.0, atol=1e-5)
    assert flight.loss == again.loss
    assert flight.loss[-1] < flight.loss[0]
    assert flight.centroid_distance[0] > 1.9  # Drawn around opposite poles.
    assert Image.open(io.BytesIO(free_points.animate(flight))).n_frames > 1
