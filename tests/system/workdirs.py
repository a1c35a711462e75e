"""What a run's folder holds, and damage to it."""

import json
from pathlib import Path

import jax

from aligngap.runs.checkpoints import Checkpoints
from aligngap.training import run as runs


def metrics(workdir: Path) -> list[dict]:
    """Its metrics.jsonl; nothing where there is none yet, or a line that is being written."""
    path = workdir / "metrics.jsonl"
    whole = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in whole if line.endswith("\n")]


def saved_steps(workdir: Path) -> list[int]:
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def final_state(workdir: Path) -> dict[str, bytes]:
    """Path and bytes of each array of the state after its last step."""
    run = runs.reopen(workdir)
    with Checkpoints(workdir, run.config) as checkpoints:
        assert checkpoints.steps()[-1] == run.config.steps
        state = run.load(checkpoints, run.config.steps)[0]
    leaves = jax.tree.leaves_with_path(jax.device_get(state))
    return {jax.tree_util.keystr(path): leaf.tobytes() for path, leaf in leaves}


def largest_file(folder: Path) -> Path:
    files = (path for path in folder.rglob("*") if path.is_file())
    return max(files, key=lambda path: path.stat().st_size)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
