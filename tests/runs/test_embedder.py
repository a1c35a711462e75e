"""Embeddings of any number of rows, in order, whatever the batch."""

import numpy as np
import pytest

from aligngap.config import default, tower
from aligngap.data import eval_set
from aligngap.data.tokenizers import bpe
from aligngap.models import dual_encoder, towers
from aligngap.parallel import mesh as meshes
from aligngap.runs.embedder import Embedder
from aligngap.training import optimizer, state

pytestmark = pytest.mark.corpus


@pytest.fixture(scope="module")
def config(pictograms_dir):
    config = default()
    config.data.data_dir = str(pictograms_dir)
    config.data.max_keywords = 1
    config.model.embed_dim = 16
    config.model.image.update(tower(32, 1, 2, 2.0), size=32, patch_size=8)
    config.model.text.update(tower(32, 1, 2, 2.0), context_length=12, vocab_size=600)
    return config


@pytest.fixture(scope="module")
def split(config):
    return eval_set.read(config, "test_unseen_both")


@pytest.fixture(scope="module")
def vocabulary(split):
    return bpe.train(split.texts, 600)


@pytest.mark.parametrize("batch", [10, 64, 1000])
def test_batches_and_their_padding_change_nothing(config, split, vocabulary, batch):
    config = config.copy_and_resolve_references()
    config.evaluation.batch_size = batch
    mesh = meshes.make(config)
    model = dual_encoder.make(config)
    params = state.create(config, model, optimizer.make(config), mesh).params
    embedder = Embedder(config, model, vocabulary, mesh)
    pixels = [split.pixels(row, 32, "crop") for row in range(70)]
    image = embedder.images(params, pixels.__getitem__, 70)
    text = embedder.texts(params, split.texts[:70])
    scaled = towers.normalise(np.stack(pixels), config.data.mean, config.data.std)
    ids = vocabulary.encode(split.texts[:70], 12)
    wanted = model.apply({"params": params}, scaled, ids)
    np.testing.assert_allclose(image, wanted[0], atol=1e-5)
    np.testing.assert_allclose(text, wanted[1], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(image, axis=1), 1, atol=1e-5)
    assert embedder.images(params, pixels.__getitem__, 0).shape == (0, 16)
