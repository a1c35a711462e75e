"""Eight simulated devices, set before any backend starts, and the prepared corpus."""

import os
from pathlib import Path

os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

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
    corpora.prepare("pictograms", folder)
    return folder


@pytest.fixture
def unit_rows():
    """(rows, dimension, seed) → random L2-normalised float64 rows."""

    def make(rows: int, dimension: int, seed: int) -> np.ndarray:
        x = np.random.default_rng(seed).normal(size=(rows, dimension))
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    return make
