"""The paper's recipe, priced without allocating it."""

from pathlib import Path

import pytest

from aligngap import config as configs
from aligngap.errors import UsageError
from aligngap.training import dry_run

PAPER = str(Path(__file__).parents[2] / "configs" / "alignclip_vit_b16_cc12m.py")


def described(*overrides):
    text = dry_run.describe(configs.load(PAPER, list(overrides)))
    return text, dict(line.split(maxsplit=1) for line in text.splitlines() if line.strip())


def test_the_papers_model():
    text, lines = described()
    assert lines["Parameters"] == "124,393,729"
    # METHODS: 145.3 GFLOP a trained pair.
    assert "(145.1 GFLOP a pair)" in text
    assert lines["parameters"] == lines["gradients"]


def test_bytes_fall_with_fsdp_and_tensor():
    whole = 124_393_729 * 4 / 2**20
    text, lines = described(*(f"--config.mesh.{axis}=2" for axis in ("data", "fsdp", "tensor")))
    value, unit = lines["parameters"].split()
    assert unit == "MiB"
    assert whole / 4 <= float(value) <= whole / 4 * 1.05
    assert "(·, fsdp, tensor)" in text


def test_a_mesh_that_does_not_divide_the_batch():
    with pytest.raises(UsageError, match="batch_size=512"):
        described("--config.mesh.data=3")
