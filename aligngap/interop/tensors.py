"""Named tensors from files of strangers: safetensors (one file or shards), .npz, torch's pickles.

Nothing in a file is executed: torch reads weights only, and NumPy no pickles. What a damaged one
makes their readers raise may be anything.
"""

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from aligngap.errors import AligngapError
from aligngap.gap import sources
from aligngap.runs.workdir import read_json

# What training scripts wrap around a state dict, and what their modules put before each name.
WRAPPERS = ("state_dict", "model_state_dict", "model")
PREFIXES = ("module.", "_orig_mod.")


def read(path: Path) -> dict[str, np.ndarray]:
    """Every tensor of a file by its name; AligngapError where it cannot be read or is refused."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise AligngapError(f"{path}: expected a file of tensors: {', '.join(READERS)}")
    if not path.is_file():
        raise AligngapError(f"{path} does not exist")
    return _unprefixed(reader(path))


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        with safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (AttributeError, TypeError) as error:  # Of 8 bits and fewer, which NumPy lacks.
        raise AligngapError(
            f"{path} has numbers of a type that is not read here ({_words(error)}); save them as "
            "float32, float16 or bfloat16"
        ) from error
    except Exception as error:
        words = _words(error)
        raise AligngapError(f"{path} is damaged or no safetensors file: {words}") from error


def _shards(path: Path) -> dict[str, np.ndarray]:
    """The files that an index names; those must lie beside it."""
    weights = read_json(path).get("weight_map")
    if not isinstance(weights, dict) or not all(isinstance(v, str) for v in weights.values()):
        raise AligngapError(f"{path} is no index of shards: it has no weight_map")
    found: dict[str, np.ndarray] = {}
    for name in sorted(set(weights.values())):
        if Path(name).name != name:
            raise AligngapError(f"{path} names {name!r}; shards must lie beside their index")
        found |= read(path.parent / name)
    return found


def _npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            for member in archive.zip.namelist():
                with archive.zip.open(member) as file:
                    sources.expect_short_header(file)
            found = {name: archive[name] for name in archive.files}
    except Exception as error:
        raise AligngapError(f"{path} is damaged or no .npz archive: {_words(error)}") from error
    if other := next((name for name in found if not isinstance(found[name], np.ndarray)), None):
        raise AligngapError(f"{path} holds {other}, which is no array; expected arrays alone")
    return found


def _torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as error:
        raise AligngapError(
            f"reading {path.name} needs torch: pip install 'aligngap[interop]'"
        ) from error
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise AligngapError(f"{path} is refused: {_asked_for(str(error))}") from error
    except Exception as error:
        code = " (a TorchScript archive holds code; save its state_dict)" * ("Script" in str(error))
        raise AligngapError(f"{path} is damaged or no torch file: {_words(error)}{code}") from error
    arrays = {}
    for name, tensor in _state_dict(found, path).items():
        try:
            arrays[name] = tensor.detach().float().numpy()
        except (RuntimeError, TypeError) as error:  # Sparse, or without values.
            raise AligngapError(f"{path}: {name} is no dense tensor: {_words(error)}") from error
    return arrays


def _state_dict(found: Any, path: Path) -> dict[str, Any]:
    import torch

    for wrapper in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in found.items()
    ):
        raise AligngapError(f"{path} holds no state dict (names and tensors)")
    return found


def _asked_for(message: str) -> str:
    """What a pickle wanted besides weights, out of torch's long explanation."""
    wanted = re.search(r"GLOBAL ([\w.]+)", message)
    what = f"would run {wanted.group(1)}" if wanted else "holds more than weights"
    return f"it {what}, and a checkpoint is read as weights only"


def _words(error: Exception) -> str:
    """The first line of an error, or what it is."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _unprefixed(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for prefix in PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): array for name, array in tensors.items()}
    return tensors


READERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".safetensors": _safetensors,
    ".json": _shards,
    ".npz": _npz,
    **dict.fromkeys((".pt", ".pth", ".bin", ".ckpt"), _torch),
}
