"""What a workdir's model is to those who only look at it."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import aligngap
from aligngap.config import default
from aligngap.errors import AligngapError
from aligngap.interop import importing
from aligngap.models import dual_encoder
from aligngap.parallel import mesh as meshes
from aligngap.runs import workdir
from aligngap.runs.checkpoints import Checkpoints
from aligngap.runs.model import Model
from aligngap.runs.position import Position
from aligngap.training import optimizer, state
from aligngap.training.state import TrainState

pytestmark = pytest.mark.corpus


def test_the_averaged_parameters_where_there_are_any(small, tmp_path):
    small.optimizer.ema_decay = 0.9
    workdir.claim(tmp_path, small)
    model, tx, mesh = dual_encoder.make(small), optimizer.make(small), meshes.make(small)
    fresh = state.create(small, model, tx, mesh)
    averaged = jax.tree.map(lambda p: p + 1, fresh.params)
    with Checkpoints(tmp_path, small, writing=True) as checkpoints:
        saved = TrainState(jnp.ones((), jnp.int32), fresh.params, fresh.opt_state, averaged)
        checkpoints.save(1, saved, Position(1).saved(small), {})
    found = aligngap.load(tmp_path)
    assert (found.step, found.tokenizer) == (1, None)
    jax.tree.map(np.testing.assert_array_equal, found.params, averaged)
    with pytest.raises(AligngapError, match=r"no checkpoint of step 3; kept: \[1\]"):
        aligngap.load(tmp_path, 3)


def test_a_folder_without_checkpoint(small, tmp_path):
    with pytest.raises(AligngapError, match="holds no run"):
        aligngap.load(tmp_path)
    workdir.claim(tmp_path, small)
    with pytest.raises(AligngapError, match="no checkpoint yet"):
        aligngap.load(tmp_path)


@pytest.mark.parametrize("content", ["[]", '{"metrics": 1}', '{"performance_metrics": []}'])
def test_what_a_checkpoint_says_of_itself_is_damaged(content, small, tmp_path):
    workdir.claim(tmp_path, small)
    model, mesh = dual_encoder.make(small), meshes.make(small)
    importing.save(tmp_path, small, state.create(small, model, optimizer.make(small), mesh).params)
    about = tmp_path / "checkpoints" / "0" / "_CHECKPOINT_METADATA"
    about.write_text(content)
    with pytest.raises(AligngapError, match=r"/checkpoints: .*_CHECKPOINT_METADATA is damaged"):
        aligngap.load(tmp_path)
    about.unlink()  # As the message says.
    assert aligngap.load(tmp_path).step == 0


def test_one_alone_is_no_list():
    model = Model(default(), Path(), 0, None, None, None, None)  # Refused before any is used.
    for given, words in [("a cat", r"write \['a cat'\]"), (Path("x.png"), r"write \['x.png'\]")]:
        for encode in (model.encode_text, model.encode_image):
            with pytest.raises(AligngapError, match=words):
                encode(given)
    with pytest.raises(AligngapError, match=r"write \[image\]"):
        model.encode_image(Image.new("RGB", (8, 8)))
    with pytest.raises(AligngapError, match=r"write \[image\]"):
        model.encode_image(np.zeros((8, 9, 3), np.uint8))  # Not 8 grey ones of 9 × 3 pixels.


def test_texts_need_no_places():
    model = aligngap.load("clip-pictograms")
    wanted = model.encode_text(["a cat", "a dog"])
    for given in ("a cat", "a dog"), {"a cat": 1, "a dog": 2}.keys(), np.array(["a cat", "a dog"]):
        np.testing.assert_array_equal(model.encode_text(given), wanted)
    np.testing.assert_array_equal(model.encode_text(text for text in ["a cat", "a dog"]), wanted)
    assert "step=0" in repr(model) and len(repr(model)) < 300


@pytest.mark.parametrize("given", [None, float("nan"), b"a dog", 3])
def test_what_is_no_text(given):
    model = Model(default(), Path(), 0, None, None, None, None)
    with pytest.raises(AligngapError, match=rf"text 1 is a {type(given).__name__}; expected"):
        model.encode_text(["a cat", given])


@pytest.mark.parametrize("given", [None, b"PNG", jnp.zeros((8, 8, 3), jnp.uint8)])
def test_what_is_no_image(given):
    model = aligngap.load("clip-pictograms")
    with pytest.raises(AligngapError, match=f"an image is a {type(given).__name__}; expected"):
        model.encode_image([given])
    with pytest.raises(AligngapError, match=r"an image is uint8 \[0, 8, 3\]"):
        model.encode_image([np.zeros((0, 8, 3), np.uint8)])
