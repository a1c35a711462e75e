"""Eight simulated devices, set before any backend starts, and the prepared corpus."""

import atexit
import os
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Two thirds of the suite's time were XLA compiling small programs well that run once.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if metadata.version("jaxlib").startswith("0.10."):  # Later ones have no other emitters.
    emitters = "--xla_cpu_use_fusion_emitters=false"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {emitters}"
# What one test compiled the others read, in whichever process; a run never depends on another's.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="aligngap-tests-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

import jax
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _no_mesh_left_behind():
    yield
    assert jax.sharding.get_abstract_mesh().empty


@pytest.fixture(scope="session")
def pictograms_dir() -> Path:
    """The folder that holds the prepared pictograms corpus; prepared here if it is not there."""
    from aligngap.config import data_dir
    from aligngap.data import corpora

    folder = data_dir(os.environ.get("ALIGNGAP_TEST_DATA", ""))
    corpora.find("pictograms", folder).prepare()
    return folder


@pytest.fixture(scope="session")
def clip_dir(pictograms_dir) -> Path:
    """The same folder, with CLIP's merges in it; fetched here if they are not there."""
    from aligngap.data.tokenizers.clip import Clip

    Clip.prepare(pictograms_dir)
    return pictograms_dir


@pytest.fixture(scope="session")
def spiece_dir(pictograms_dir, tmp_path_factory) -> Path:
    """A folder with a spiece.model in SigLIP's form, learnt from the corpus's captions."""
    import io

    import sentencepiece

    from aligngap.data import corpora
    from aligngap.data.records import texts_of

    source = corpora.find("pictograms", pictograms_dir).open("train")
    captions = set(texts_of(source))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sorted(captions)),
        model_writer=model,
        vocab_size=1000,
        **{"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "minloglevel": 2},
    )
    folder = tmp_path_factory.mktemp("sentencepieces")
    (folder / "spiece.model").write_bytes(model.getvalue())
    return folder


@pytest.fixture
def unit_rows():
    """(rows, dimension, seed) → random L2-normalised float64 rows."""

    def make(rows: int, dimension: int, seed: int) -> np.ndarray:
        x = np.random.default_rng(seed).normal(size=(rows, dimension))
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    return make


@pytest.fixture
def small(pictograms_dir):
    """A config of 8 steps at batch 32, all its pieces in use."""
    from aligngap.config import default, tower

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
    for entry in (config.evaluators.gap, config.evaluators.retrieval):
        entry.every_steps = 4
    config.log.every_steps = 1
    return config
