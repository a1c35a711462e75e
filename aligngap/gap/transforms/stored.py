"""A folder of a JSON file and of arrays: whole or not at all, and changes to it are found out."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as tensors_of

from aligngap import atomic, json_text
from aligngap.errors import AligngapError

VERSION = 1
JSON, TENSORS = "transform.json", "transform.safetensors"


def save(
    folder: Path, kind: str, record: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> None:
    """Both files; UsageError where something is there already."""
    content = tensors_of.save(
        {name: np.asarray(x, np.float64, order="C") for name, x in tensors.items()}
    )
    whole = {"format": kind, "version": VERSION, **record}
    whole["tensors_sha256"] = hashlib.sha256(content).hexdigest()
    with atomic.folder(folder) as filling:
        (filling / TENSORS).write_bytes(content)
        atomic.write_json(filling / JSON, {**whole, "sha256": _digest(whole)})


def load(folder: Path, kind: str, maker: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `save` was given; AligngapError where that is not what is there, with what makes one."""
    if not (folder / JSON).is_file():
        raise AligngapError(f"{folder} holds no {kind} (no {JSON}); {maker} makes one")
    try:
        record = json_text.value((folder / JSON).read_text(encoding="utf-8"))
        content = (folder / TENSORS).read_bytes()
        if record["format"] != kind:
            raise damaged(folder, kind, maker)
        if record["version"] != VERSION:
            raise AligngapError(
                f"{folder} is version {record['version']} of a {kind}; this program reads {VERSION}"
            )
        told = record.pop("sha256")
        if told != _digest(record):
            raise AligngapError(f"{folder / JSON} was changed after it was written; fit it again")
        if record["tensors_sha256"] != hashlib.sha256(content).hexdigest():
            raise AligngapError(
                f"{folder / TENSORS} was changed after it was written; fit it again"
            )
        tensors = tensors_of.load(content)
        if any(x.dtype != np.float64 or not np.isfinite(x).all() for x in tensors.values()):
            raise damaged(folder, kind, maker)
        return record, tensors
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, AttributeError) as error:
        raise damaged(folder, kind, maker) from error


def damaged(folder: Path, kind: str, maker: str) -> AligngapError:
    """That a folder is something else."""
    return AligngapError(f"{folder} is damaged or no {kind}; {maker} makes one")


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
