"""What trains: corpora, a step on the devices, a run and its checkpoints."""

from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from aligngap import config as configs
from aligngap import json_text
from aligngap.data import corpora, records
from aligngap.doctor.finding import Finding
from aligngap.errors import AligngapError
from aligngap.parallel import mesh as meshes
from aligngap.presets import preset
from aligngap.runs import model as models
from aligngap.runs import workdir
from aligngap.runs.checkpoints import Checkpoints, Damaged
from aligngap.training import run, state
from aligngap.training.step import make_step
from aligngap.unit import unit_rows_numpy


def examine(folder: Path | None) -> Iterator[Finding]:
    """The corpora, a step on every device, then the run in `folder`."""
    yield from _corpora()
    yield from _one_step()
    if folder is not None:
        yield from _run(folder)


def _corpora() -> Iterator[Finding]:
    folder = configs.data_dir("")
    for name in corpora.CORPORA:
        try:
            found = corpora.find(name, folder)
            count = len(found.open(found.named("train")[0]))
        except AligngapError:
            command = f"aligngap prepare --corpus={name}"
            yield Finding("note", f"corpus {name} is not prepared in {folder}; `{command}` does it")
        else:
            yield Finding("ok", f"corpus {name}: {count:,} training pairs in {folder}")


def _one_step() -> Iterator[Finding]:
    """A small model takes a step on all devices, in both compute dtypes."""
    for dtype in ("float32", "bfloat16"):
        config = preset("alignclip")
        config.compute_dtype, config.steps, config.optimizer.warmup_steps = dtype, 10, 0
        config.batch_size = 8 * jax.device_count()
        config.model.embed_dim = 32
        config.model.image.update(configs.tower(64, 2, 4, 2.0), size=32, patch_size=16)
        config.model.text.update(configs.tower(64, 2, 4, 2.0), context_length=8, vocab_size=514)
        try:
            loss = _step_loss(config)
        except Exception as error:  # Whatever a backend says is what there is to say.
            yield Finding("WRONG", f"a step in {dtype} failed: {str(error).splitlines()[0]}")
            continue
        grade = "ok" if np.isfinite(loss) else "WRONG"
        yield Finding(grade, f"a step in {dtype} on {jax.device_count()} devices: loss {loss:.3f}")


def _step_loss(config: configs.ConfigDict) -> float:
    made, rows = run.learner(config), config.batch_size
    current = state.create(config, made.module, made.tx, made.mesh)
    own = meshes.own_rows(rows, made.mesh)
    batch = {name: values[own] for name, values in _noise(config).items()}
    with jax.set_mesh(made.mesh):
        step = jax.jit(meshes.with_rules(make_step(config, made.module, made.tx)))
        return float(step(current, meshes.global_batch(batch, rows, made.mesh))[1]["loss"])


def _noise(config: configs.ConfigDict) -> records.Batch:
    """In the layout of a batch, every row a group of its own."""
    random = np.random.default_rng(0)
    shapes = records.batch_shapes(config, semantics=16)
    semantics = random.standard_normal(shapes["semantics"].shape, np.float32)
    return {
        "image": random.integers(0, 256, shapes["image"].shape, np.uint8),
        "text": random.integers(0, config.model.text.vocab_size, shapes["text"].shape, np.int32),
        "semantics": unit_rows_numpy(semantics),
        "group": np.arange(config.batch_size, dtype=np.int32),
    }


def _run(folder: Path) -> Iterator[Finding]:
    """Its config, its metrics, and every checkpoint, read and compared with what was saved."""
    config = workdir.read_config(folder)
    yield Finding("ok", f"{folder}: {config.name}, {config.steps:,} steps")
    yield _metrics(folder / "metrics.jsonl")
    try:
        learner = run.reopen(folder)
    except AligngapError as error:
        yield Finding("WRONG", str(error))
        return
    with Checkpoints(folder, config) as checkpoints:
        steps = checkpoints.steps()
        if not steps:
            yield Finding("note", "no checkpoint yet; `aligngap train` goes on from the start")
        for step in steps:
            try:
                if step:
                    learner.load(checkpoints, step)
                else:  # An imported model: parameters alone.
                    models.restore_params(config, learner.module, learner.mesh, checkpoints, step)
            except Damaged as error:
                yield Finding("WRONG", f"{error}; `aligngap train` goes on from the one before")
            else:
                yield Finding("ok", f"checkpoint of step {step} is what was saved")
    for aside in sorted((folder / "checkpoints").glob("damaged_*")):
        yield Finding("note", f"{aside} was set aside; delete it when nobody wants to look at it")


def _metrics(path: Path) -> Finding:
    try:
        lines = path.read_text("utf-8").splitlines()
        last = json_text.value(lines[-1])["step"] if lines else "none"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Finding("WRONG", f"{path} cannot be read ({error}); training cuts it back by itself")
    return Finding("ok", f"{path}: {len(lines)} lines, the last of step {last}")
