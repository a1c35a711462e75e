"""What an evaluation leaves: one tree of values, gap.json, arrays for pages, and a table."""

import fnmatch
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from aligngap import atomic
from aligngap.evaluation import evaluator
from aligngap.evaluation.evaluator import Value
from aligngap.runs import provenance

Found = dict[str, dict[str, Value]]  # Evaluator → its values by their names.


@dataclass(frozen=True)
class SplitResults:
    """What was found on one split."""

    about: dict[str, Any]
    trained: Found = field(default_factory=dict)
    before: Found = field(default_factory=dict)  # Of the model before it was trained.
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


def write(
    folder: Path, config: ConfigDict, step: int, main: str, results: Mapping[str, SplitResults]
) -> None:
    """evaluation.json, gap.json and embeddings.npz; `main` is the split that a page leads with.

    Each file says its step: killed between two of them, readers see that they do not belong.
    """
    main = main if main in results else next(iter(results))
    arrays = {f"{s}/{name}": x for s, r in results.items() for name, x in r.arrays.items()}
    atomic.write(folder / "embeddings.npz", _npz(arrays | {"step": np.array(step)}))
    if gaps := _gaps(config, results, main):
        atomic.write_json(folder / "gap.json", {"step": step} | gaps)
    evaluation = {
        "model": config.name,
        "step": step,
        "commands": provenance.commands(folder),
        "versions": provenance.versions(),
        "main": main,
        "evaluators": config.evaluators.to_dict(),
        "splits": {name: result.about | _tree(result.trained) for name, result in results.items()},
        "before": {name: _tree(result.before) for name, result in results.items() if result.before},
    }
    atomic.write_json(folder / "evaluation.json", evaluation)


def _gaps(config: ConfigDict, results: Mapping[str, SplitResults], main: str) -> dict[str, Any]:
    """gap.json, as `aligngap gap` writes it of two files: the main split's measures, then all."""
    entry = next((name for name, e in config.evaluators.items() if e.type == "gap"), "")
    found = {
        s: {"measures": _leaves(r.trained[entry])} for s, r in results.items() if entry in r.trained
    }
    before = {
        s: {"measures": _leaves(r.before[entry])} for s, r in results.items() if entry in r.before
    }
    if main not in found:
        return {}
    return {**found[main], "splits": found, **({"initial": before} if before else {})}


def _tree(found: Found) -> dict[str, Any]:
    """Evaluator → its values, nested at each "/" of their names."""
    tree: dict[str, Any] = {}
    for name, values in found.items():
        own = tree.setdefault(name, {})
        for key, leaf in _leaves(values).items():
            *path, last = key.split("/")
            below = own
            for part in path:
                below = below.setdefault(part, {})
            below[last] = leaf
    return tree


def _leaves(values: Mapping[str, Value]) -> dict[str, dict[str, float]]:
    return {
        name: {"value": float(x)} if isinstance(x, int | float) else x.as_json()
        for name, x in values.items()
    }


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def table(config: ConfigDict, step: int, results: Mapping[str, SplitResults]) -> Iterator[str]:
    """What evaluators print of each split, with intervals and chance."""
    yield f"{config.name} at step {step}: value [95 % interval], chance"
    for split, result in results.items():
        yield split
        for name, values in result.trained.items():
            printed = evaluator.find(name, config.evaluators[name]).PRINTED
            for key, value in values.items():
                if any(fnmatch.fnmatch(key, pattern) for pattern in printed):
                    before = result.before.get(name, {}).get(key)
                    yield f"  {name + '/' + key:<36} {_words(value)}{_before(before)}"


def _words(value: Value) -> str:
    if isinstance(value, int | float):
        return f"{value:.3f}"
    chance = "" if value.chance is None else f", {value.chance:.4f}"
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]{chance}"


def _before(value: Value | None) -> str:
    if value is None:
        return ""
    return f", before training {value if isinstance(value, int | float) else value.value:.3f}"
