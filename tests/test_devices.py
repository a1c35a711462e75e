"""Which devices' peaks are known, by what JAX calls them."""

import jax
import pytest

from aligngap import devices
from aligngap.errors import UsageError

NAMES = {
    "TPU v4": "v4",
    "TPU v5 lite": "v5e",
    "TPU v5": "v5p",
    "TPU v5p": "v5p",
    "TPU v6 lite": "v6e",
    "NVIDIA A100-SXM4-80GB": "a100",
    "NVIDIA H100 80GB HBM3": "h100",
    "NVIDIA H200": "h200",
    "NVIDIA B200": "b200",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_device_is_known_by_its_name(name):
    assert devices.kind(name) is devices.KINDS[NAMES[name]]


@pytest.mark.parametrize("name", ["cpu", "NVIDIA H100 PCIe", "NVIDIA H100 NVL", "TPU v3", "TPU7x"])
def test_others_have_no_known_peak(name):
    assert devices.kind(name) is None


def test_a_cpu_has_no_peak():
    assert devices.peak("float32") is None


@pytest.mark.parametrize(
    ("name", "dtype", "tera"),
    [
        ("h100", "float32", 495),
        ("h100", "bfloat16", 989),
        ("b200", "float32", None),
        ("v5e", "float32", None),
    ],
)
def test_a_gpu_takes_tensorfloat32_for_products_of_float32(name, dtype, tera):
    assert devices.KINDS[name].peak_of(dtype) == (tera and tera * devices.TERA)


class Silent:
    """A device that is not here, and whose allocator says nothing."""

    platform = "tpu"

    def __init__(self, device_kind):
        self.device_kind = device_kind

    def memory_stats(self):
        return None


@pytest.mark.parametrize("name", NAMES)
def test_a_device_that_does_not_say_its_memory_is_known_by_its_name(name, monkeypatch):
    monkeypatch.setattr(jax, "local_devices", lambda: [Silent(name)])
    assert devices.memory() == 1e9 * devices.KINDS[NAMES[name]].memory


def test_a_name_within_a_name_is_another_device(monkeypatch):
    monkeypatch.setattr(jax, "local_devices", lambda: [Silent("NVIDIA GH200 480GB")])
    with pytest.raises(UsageError, match="a NVIDIA GH200 480GB does not say its memory"):
        devices.memory()
