"""Whole programs in their own processes, as a user starts them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = {
    "steps": 8,
    "batch_size": 32,
    "data.train_split": "validation",
    "data.validation_split": "test_unseen_both",
    "data.test_splits": "('test_unseen_both',)",
    "model.embed_dim": 16,
    "model.image.width": 32, "model.image.layers": 1, "model.image.heads": 2,
    "model.text.width": 32, "model.text.layers": 1, "model.text.heads": 2,
    "model.text.vocab_size": 600,
    "optimizer.warmup_steps": 2,
    "checkpoint.every_steps": 2,
    "evaluation.every_steps": 4,
    "log.every_steps": 1,
}  # fmt: skip


class Program:
    """`aligngap VERB ...` in a process of its own, on one device unless told otherwise."""

    def __init__(self, data_dir: Path, compiled: Path) -> None:
        self.data_dir = data_dir
        # Most of these programs compile the same step: each but the first takes it from here.
        self.cache = {
            "JAX_COMPILATION_CACHE_DIR": str(compiled),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "aligngap.cli", *arguments]

    def environment(self, devices: int = 1) -> dict[str, str]:
        here = {"JAX_NUM_CPU_DEVICES": str(devices), "PYTHONPATH": str(ROOT)}
        return {**os.environ, **self.cache, **here}

    def train_arguments(self, workdir: Path, preset: str = "alignclip", **overrides) -> list[str]:
        fields = {**TINY, "data.data_dir": self.data_dir}
        fields |= {name.replace("__", "."): value for name, value in overrides.items()}
        flags = [f"--config.{name}={value}" for name, value in fields.items()]
        config = f"--config={ROOT / 'configs' / 'quickstart.py'}:{preset}"
        return ["train", config, f"--workdir={workdir}", *flags]

    def run(
        self, *arguments: str, devices: int = 1, cwd: Path = ROOT
    ) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(*map(str, arguments)),
            env=self.environment(devices),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def train(self, workdir: Path, *, devices: int = 1, preset: str = "alignclip", **overrides):
        return self.run(*self.train_arguments(workdir, preset, **overrides), devices=devices)


@pytest.fixture(scope="session")
def program(pictograms_dir, tmp_path_factory) -> Program:
    return Program(pictograms_dir, tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="session")
def metrics():
    """workdir → its metrics.jsonl, as a list of objects."""

    def read(workdir: Path) -> list[dict]:
        return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]

    return read


@pytest.fixture(scope="session")
def final_state():
    """workdir → path and bytes of each array of the state after its last step."""
    import jax

    from aligngap.training import loop
    from aligngap.training.checkpoints import Checkpoints

    def read(workdir: Path) -> dict[str, bytes]:
        run = loop.reopen(workdir)
        with Checkpoints(workdir, run.config) as checkpoints:
            assert checkpoints.steps()[-1] == run.config.steps
            state = loop.load_state(run, checkpoints, run.config.steps)
        leaves = jax.tree.leaves_with_path(jax.device_get(state))
        return {jax.tree_util.keystr(path): leaf.tobytes() for path, leaf in leaves}

    return read


@pytest.fixture(scope="session")
def finished(program, tmp_path_factory) -> Path:
    """The workdir of a run that was never disturbed."""
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    done = program.train(workdir)
    assert done.returncode == 0, done.stderr
    return workdir


@pytest.fixture(scope="session")
def evaluated(program, finished) -> subprocess.CompletedProcess:
    """What `aligngap evaluate` of that run said; its files are in `finished`."""
    done = program.run("evaluate", f"--workdir={finished}")
    assert done.returncode == 0, done.stderr
    return done
