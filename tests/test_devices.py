"""Which devices' peaks are known, by what JAX calls them."""

import pytest

from aligngap import devices

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
