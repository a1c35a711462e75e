"""The verb: 25 cones of every encoder, and bad flags."""

import argparse
import json
import subprocess
import sys

import numpy as np
import pytest

from aligngap import cli
from aligngap.errors import UsageError
from aligngap.laboratory import cone

import programs


def flags(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cone.add_flags(parser)
    return parser.parse_args(given)


SMALL = ("--activations", "linear", "--layers=1", "--width=16", "--inputs=8", "--repeats=3")


@pytest.mark.corpus
def test_25_initialisations_of_every_encoder_are_25_cones(pictograms_dir, tmp_path):
    command = ["gap", "cone", f"--output={tmp_path}", f"--data_dir={pictograms_dir}", *SMALL]
    small = ("--examples=40", "--resnet_examples=20", "--image_size=32")
    program = [sys.executable, "-m", "aligngap.cli", *command, *small]
    subprocess.run(program, env=programs.well_compiled(), check=True)
    record = json.loads((tmp_path / "cone.json").read_text())
    assert record["settings"]["seed"] == 0
    assert record["settings"]["initialisations"] == 25
    encoders = record["results"]["encoders"]
    kinds = {
        name: [f"{name}, {kind}", f"{name}, noise"]
        for name, kind in (
            ("ResNet-50", "pictograms"),
            ("image transformer", "pictograms"),
            ("text transformer", "captions"),
        )
    }
    assert list(encoders) == [kind for own in kinds.values() for kind in own]
    for name, one in encoders.items():
        assert one["inputs"] == (20 if name in kinds["ResNet-50"] else 40)
        assert one["held_out_accuracy"] >= 0.99
        cosines = np.array(one["mean_cosines"])
        others = cosines[~np.eye(25, dtype=bool)]
        assert np.diag(cosines).min() > 0.5 > 0.35 > np.abs(others).max()
        by_layer = np.array(one["mean_cosine"])
        assert by_layer.shape == (25, len(one["layers"]))
        np.testing.assert_allclose(by_layer[:, -1], np.diag(cosines), atol=1e-5)
        share = one["variance_share"]
        between = max(others.mean(), 0)
        wanted = (np.diag(cosines).mean() - between) / (1 - between)
        assert share["value"] == pytest.approx(wanted, abs=1e-9)
        assert share["low"] < share["value"] < share["high"]
    for name in kinds["ResNet-50"]:  # The paper's figure of a random ResNet.
        assert np.array(encoders[name]["mean_cosine"])[:, -1].min() >= 0.99
    picture = (tmp_path / "cone.svg").read_text()
    assert "mean cosine of two inputs" in picture
    for name in kinds:
        assert f"random {name}" in picture


def test_a_missing_corpus_gets_one_line(tmp_path, capsys):
    output = tmp_path / "out"
    assert cli.main(["gap", "cone", f"--output={output}", f"--data_dir={tmp_path}", *SMALL]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "missing" in lines[0] and "aligngap prepare --corpus=pictograms" in lines[0]
    assert not output.exists()


@pytest.mark.parametrize(
    ("flag", "word"),
    [
        ("--repeats=2", "--repeats=2"),
        ("--initialisations=1", "--initialisations=1"),
        ("--examples=3", "--examples=3"),
        ("--layers=0", "--layers=0"),
        ("--seed=-1", "--seed=-1"),
        ("--model=XL/16", "'XL/16'"),
        ("--image_size=40", "patch 16"),
        ("--image_size=48", "multiple of 32"),
        ("--resnet_examples=300", "--resnet_examples=300"),
    ],
)
def test_bad_flags(flag, word):
    with pytest.raises(UsageError, match=word) as caught:
        cone.run(flags(flag))
    assert "\n" not in str(caught.value)
