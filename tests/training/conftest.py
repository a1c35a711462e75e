"""A run small enough to train in seconds, on the real corpus."""

import pytest

from aligngap.config import default, tower


@pytest.fixture
def small(pictograms_dir):
    """A config of 8 steps at batch 32, all its pieces in use."""
    config = default()
    config.steps = 8
    config.batch_size = 32
    config.data.data_dir = str(pictograms_dir)
    config.data.train_split = "validation"  # The smallest with every drawing set.
    config.data.test_splits = ("test_unseen_both",)
    config.model.tie = "transformer+projection"
    config.model.embed_dim = 32
    config.model.image.update(tower(64, 2, 4, 2.0), size=32, patch_size=8)
    config.model.text.update(tower(64, 2, 4, 2.0), context_length=12, vocab_size=640)
    config.objective.separation_weight = 0.25
    config.optimizer.warmup_steps = 2
    config.checkpoint.every_steps = 4
    config.evaluation.every_steps = 4
    config.log.every_steps = 1
    return config
