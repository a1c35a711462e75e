"""Embeddings of any number of rows, in order, whatever the batch; and what a split is."""

import numpy as np
import pytest

from aligngap.config import default, tower
from aligngap.data import images, pipeline, splits, tokenizer
from aligngap.evaluation import evaluate as evaluation
from aligngap.models import dual_encoder
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
    return splits.read(config, "test_unseen_both")


@pytest.fixture(scope="module")
def vocabulary(split):
    return tokenizer.train(split.captions, 600)


def test_a_split_has_one_caption_a_concept(split, config):
    assert len(set(split.concept)) == len(split.captions) == len(split.group)
    for row in (0, 100, len(split.source) - 1):
        record = split.source[row]
        assert split.captions[split.concept[row]] == pipeline.caption(record, 1)
        assert split.group[split.concept[row]] == record["group"].decode()
    assert next(split.pixels(32)).shape == (32, 32, 3)


@pytest.mark.parametrize("batch", [10, 64, 1000])
def test_batches_and_their_padding_change_nothing(config, split, vocabulary, batch):
    config = config.copy_and_resolve_references()
    config.evaluation.batch_size = batch
    mesh = meshes.make(config)
    model = dual_encoder.make(config)
    params = state.create(config, model, optimizer.make(config), mesh).params
    embedder = Embedder(config, model, vocabulary, mesh)
    pixels = [image for _, image in zip(range(70), split.pixels(32), strict=False)]
    image = embedder.images(params, pixels)
    text = embedder.texts(params, split.captions[:70])
    scaled = images.normalise(np.stack(pixels), config.data.mean, config.data.std)
    ids = vocabulary.encode(split.captions[:70], 12)
    wanted = model.apply({"params": params}, scaled, ids)
    np.testing.assert_allclose(image, wanted[0], atol=1e-5)
    np.testing.assert_allclose(text, wanted[1], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(image, axis=1), 1, atol=1e-5)
    assert embedder.images(params, []).shape == (0, 16)


def test_the_gap_is_measured_on_one_image_of_each_concept():
    concept = np.array([0, 0, 0, 1, 2, 2])
    rows = evaluation.one_image_a_concept(concept)
    assert concept[rows].tolist() == [0, 1, 2]
    assert (rows == evaluation.one_image_a_concept(concept)).all()


def test_prompts_of_a_compound_class():
    assert evaluation.class_prompts("food-drink") == ["food drink", "food", "drink"]
    assert evaluation.class_prompts("objects") == ["objects"]
