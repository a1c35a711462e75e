"""The machine under any installation: libraries, memory, disk, devices."""

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import jax
import psutil

from aligngap import allocator
from aligngap.doctor.finding import Finding
from aligngap.runs import provenance

GIB = 2**30
LITTLE_DISK = 5 * GIB
OPTIONAL = {
    "apache_beam": "conversion on many machines (pip install 'aligngap[beam]')",
    "ot": "optimal transport in `aligngap gap close` (pip install 'aligngap[laboratory]')",
    "torch": "importing weights from .pt files (pip install 'aligngap[interop]')",
    "wandb": "curves in W&B (pip install 'aligngap[wandb]')",
}


def examine(folder: Path | None) -> Iterator[Finding]:
    """Libraries, memory, the disk of `folder` or of here, and each device."""
    yield from _machine(folder)
    yield from _devices()


def _machine(folder: Path | None) -> Iterator[Finding]:
    for name, version in provenance.versions().items():
        if version == "not installed" and name != "aligngap":
            yield Finding("WRONG", f"{name} is missing; pip install aligngap")
        else:
            yield Finding("ok", f"{name} {version}")
    for module, use in OPTIONAL.items():
        if importlib.util.find_spec(module) is None:
            yield Finding("note", f"{module} is not installed; only needed for {use}")
    if jax.default_backend() == "cpu":
        yield Finding("ok", "tcmalloc") if allocator.find() else Finding("note", allocator.HINT)
    memory = psutil.virtual_memory()
    yield Finding("ok", f"memory {memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free")
    place = next(p for p in (folder or Path()).absolute().joinpath("x").parents if p.exists())
    free = shutil.disk_usage(place).free
    grade, hint = ("ok", "") if free > LITTLE_DISK else ("WRONG", "; checkpoints may not fit")
    yield Finding(grade, f"disk of {place}: {free / GIB:.1f} GiB free{hint}")


def _devices() -> Iterator[Finding]:
    for device in jax.local_devices():
        limit = (device.memory_stats() or {}).get("bytes_limit")
        size = f", {limit / GIB:.1f} GiB for arrays" if limit else ""
        yield Finding("ok", f"device {device.id}: {device.device_kind} ({device.platform}){size}")
    if jax.default_backend() == "cpu":
        if shutil.which("nvidia-smi"):
            yield Finding("WRONG", "an NVIDIA driver, no GPU in JAX; pip install 'aligngap[cuda]'")
        elif any(Path("/dev").glob("accel*")):
            yield Finding("WRONG", "an accelerator, no TPU in JAX; pip install 'aligngap[tpu]'")
        else:
            yield Finding("note", "no accelerator: everything runs on the CPU")
