"""What devices can do: memory, arithmetic at their peak, and how far ahead they are given work.

Figures are the makers': memory of the largest variant, and dense products without sparsity, from
NVIDIA's data sheets of A100, H100 SXM, H200 SXM and HGX B200, and Google Cloud's documentation of
TPU v4, v5e, v5p and v6e. "float32" is a product at precision `highest`, for which GPUs use no
tensor cores; "tensorfloat32" is what their products of float32 are by default. What is not
published is left out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import jax
import psutil

from aligngap.errors import UsageError

TERA = 1e12


@dataclass(frozen=True)
class Kind:
    """A kind of device: GB of memory, and FLOP/s by dtype."""

    memory: int
    peak: Mapping[str, float] = field(default_factory=dict)

    def peak_of(self, dtype: str) -> float | None:
        """FLOP/s of a model's products in this dtype; None where the maker does not say."""
        fast = self.peak.get("tensorfloat32") if dtype == "float32" else None
        return fast or self.peak.get(dtype)


KINDS = {
    "v4": Kind(32, {"bfloat16": 275 * TERA}),
    "v5e": Kind(16, {"bfloat16": 197 * TERA}),
    "v5p": Kind(95, {"bfloat16": 459 * TERA}),
    "v6e": Kind(32, {"bfloat16": 918 * TERA}),
    "a100": Kind(80, {"bfloat16": 312 * TERA, "tensorfloat32": 156 * TERA, "float32": 19.5 * TERA}),
    "h100": Kind(80, {"bfloat16": 989 * TERA, "tensorfloat32": 495 * TERA, "float32": 67 * TERA}),
    "h200": Kind(141, {"bfloat16": 989 * TERA, "tensorfloat32": 495 * TERA, "float32": 67 * TERA}),
    "b200": Kind(180, {"bfloat16": 2250 * TERA}),
}


# Words of JAX's `device_kind`, such as "NVIDIA H100 80GB HBM3", "TPU v5 lite" or "TPU v5p"; other
# variants of a name (PCIe, NVL) have other peaks.
NAMED = {
    "v4": r"TPU v4",
    "v5e": r"TPU v5( lite|e)",
    "v5p": r"TPU v5p?",
    "v6e": r"TPU v6( lite|e)",
    "a100": r"NVIDIA A100.*",
    "h100": r"NVIDIA H100 80GB HBM3",
    "h200": r"NVIDIA H200",
    "b200": r"NVIDIA B200",
}


def kind(device_kind: str) -> Kind | None:
    """The kind of a device by what JAX calls it; None where its peak is not known."""
    found = (name for name, words in NAMED.items() if re.fullmatch(words, device_kind))
    return KINDS.get(next(found, ""))


def peak(dtype: str) -> float | None:
    """FLOP/s of all devices together at their peak, for products of a model in this dtype; None
    where the makers do not say."""
    known = kind(jax.devices()[0].device_kind)
    of_one = known.peak_of(dtype) if known else None
    return of_one * jax.device_count() if of_one else None


def topology(name: str) -> tuple[Kind, int]:
    """ "h100-64" → (what an H100 is, 64); UsageError for a kind that is not known."""
    kind, _, count = name.partition("-")
    if kind not in KINDS or not count.isdecimal() or int(count) < 1:
        raise UsageError(
            f"--topology={name}: expected a device and how many, as in h100-64; devices: "
            + ", ".join(KINDS)
        )
    return KINDS[kind], int(count)


def memory() -> float:
    """Bytes for arrays on a device of this process, as its allocator says; of a CPU's, its part of
    the machine's memory that is free."""
    device = jax.local_devices()[0]
    if limit := (device.memory_stats() or {}).get("bytes_limit"):
        return float(limit)
    if device.platform == "cpu":
        return float(psutil.virtual_memory().available / jax.local_device_count())
    if (known := kind(device.device_kind)) is None:
        raise UsageError(f"a {device.device_kind} does not say its memory: give model.remat")
    return 1e9 * known.memory


def steps_ahead() -> int:
    """How many programs may be under way when the next one is given to the devices.

    Several simulated devices of one CPU deadlock in their collectives when a second one is.
    """
    return 0 if jax.default_backend() == "cpu" and jax.device_count() > 1 else 1
