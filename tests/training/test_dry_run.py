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
    # By hand: 145.3 GFLOP a trained pair.
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


@pytest.mark.parametrize("field", ["parameters", "optimiser"])
def test_fsdp_over_eight_devices_splits_everything_by_eight(field):
    numbers = {}
    for fsdp in (1, 8):
        _, lines = described("--config.mesh.data=1", f"--config.mesh.fsdp={fsdp}")
        value, unit = lines[field].split()
        numbers[fsdp] = float(value) * {"GiB": 2**10, "MiB": 1}[unit]
    assert numbers[1] / 8 * 0.99 <= numbers[8] <= numbers[1] / 8 * 1.05


def test_a_topology_that_is_not_at_hand():
    config = configs.load(PAPER, ["--config.mesh.fsdp=8", "--config.batch_size=4096"])
    text = dry_run.describe(config, "v5e-256")
    assert "data 32, fsdp 8, tensor 1" in text
    (memory,) = [line for line in text.splitlines() if "of its memory" in line]
    assert "of 16 GB" in memory


@pytest.mark.parametrize("name", ["v5e", "abacus-4", "h100-0", "h100-many"])
def test_an_unknown_topology_names_those_there_are(name):
    with pytest.raises(UsageError, match=f"--topology={name}.*h100-64.*v5e"):
        dry_run.describe(configs.load(PAPER, []), name)
