"""Models that come with aligngap: found by name, stored in float16, and what their cards say."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aligngap
from aligngap import weights
from aligngap.cli import main
from aligngap.data import eval_set
from aligngap.runs import model as models
from aligngap.tasks import retrieval

from small import ours, random_params, small_config

pytestmark = pytest.mark.corpus


def export(folder, output, *flags):
    command = ["export", f"--workdir={folder}", "--format=npz", f"--output={output}"]
    return main([*command, "--dtype=float16", *flags])


@pytest.fixture
def packaged(pictograms_dir, hold, words, tmp_path, monkeypatch):
    """(a held model with parameters that float16 has, the folder where it is called "small")."""
    config = small_config(pictograms_dir, "transformer+projection")
    config.data.max_keywords = 3
    half = jax.tree.map(lambda x: x.astype(jnp.float16).astype(x.dtype), random_params(config))
    held = hold(config, half, words)
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "weights")
    assert export(held, weights.FOLDER / "small") == 0
    return held


def test_by_its_name_it_is_the_model_that_was_exported(packaged, pictures, captions, tmp_path):
    found, run = aligngap.load("small"), models.open_run(packaged)
    assert found.folder == weights.FOLDER / "small"
    assert found.config.data.max_keywords == 3
    images, texts = pictures[:3], captions[:9]
    np.testing.assert_array_equal(found.encode_image(images), run.encode_image(images))
    np.testing.assert_array_equal(found.encode_text(texts), run.encode_text(texts))
    with np.load(found.folder / "parameters.npz") as held:
        assert {array.dtype.name for array in map(held.get, held)} == {"float16"}
    assert "stored in float16" in (found.folder / "README.md").read_text()
    imported = tmp_path / "imported"
    assert main(["import", "--source=small", f"--workdir={imported}"]) == 0
    for a, b in zip(ours(packaged, images, texts), ours(imported, images, texts), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_unknown_name_and_what_is_refused(packaged, hold, tmp_path, capsys, monkeypatch):
    assert main(["export", "--workdir=smal", "--format=npz", f"--output={tmp_path}/x"]) == 1
    said = "smal holds no run, and is none of the models that come with aligngap: small"
    assert capsys.readouterr().err == f"aligngap: {said}\n"
    assert main(["evaluate", "--workdir=small"]) == 2
    assert "aligngap import --source=small --workdir=DIR" in capsys.readouterr().err
    assert export(packaged, tmp_path / "x", "--format=transformers") == 2
    assert "--dtype=float16 goes with --format=npz" in capsys.readouterr().err
    monkeypatch.chdir(packaged.parent)  # A folder that is there comes before a name.
    packaged.rename("small")
    assert aligngap.load("small").folder.resolve() == packaged.with_name("small")


def test_what_float16_has_no_room_for(pictograms_dir, hold, words, tmp_path, capsys):
    config = small_config(pictograms_dir)
    large = jax.tree.map(lambda x: x.at[...].set(7e4), random_params(config))
    assert export(hold(config, large, words), tmp_path / "out") == 1
    assert "beyond float16's 65,504" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", weights.names())
def test_what_comes_with_it_reaches_what_its_card_says(name, pictograms_dir):
    model = aligngap.load(name)
    model.config.data.data_dir = str(pictograms_dir)
    data = eval_set.read(model.config, "validation")
    rows = model.encode_image(data.images()), model.encode_text(data.texts)
    found = retrieval.values(*rows, data.image_group, data.text_group)
    card = (model.folder / "README.md").read_text()
    (line,) = [line for line in card.splitlines() if line.startswith(f"| {data.name} |")]
    told = [float(value) for value in re.findall(r"([\d.]+) \[", line)]
    reached = [found[f"{way}_retrieval_recall@10"] for way in ("text", "image")]
    # Told of float32: one caption of 190 may fall on the other side, and three digits are told.
    assert reached == pytest.approx(told[:2], abs=1 / 190 + 0.0005)
    for word in ("CC-BY-SA-4.0", "stored in float16. Of ", "## Limits"):
        assert word in card
