"""`aligngap bench step`: its figures agree with each other, and others start where ours does."""

import json
import math
import os
from pathlib import Path

import jax
import numpy as np
import pytest

from aligngap.benchmarks import step, step_parts, step_peers
from aligngap.benchmarks.measured_step import MeasuredStep, random_batch
from aligngap.benchmarks.step_peers import PROGRAMS, SideBySide
from aligngap.cli import main
from aligngap.config import load
from aligngap.data import records
from aligngap.errors import UsageError
from aligngap.training import run as runs
from aligngap.xla_flags import PLATFORMS

import sentence_folders

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "small_step.py"
SMALL = (
    *("--config.batch_size=16", "--config.model.image.layers=2", "--config.model.text.layers=2"),
    *("--config.model.image.size=16", "--config.model.text.vocab_size=640"),
    *("--config.model.image.width=48", "--config.model.text.width=48"),
)


def config(preset="clip", *more):
    return load(f"{CONFIG}:{preset}", [*SMALL, *more])


def test_the_size_of_the_comparison():
    whole = load(f"{CONFIG}:alignclip", [])
    assert (whole.batch_size, whole.compute_dtype, whole.model.tie) == (
        *(128, "float32"),
        "transformer+projection",
    )
    for tower in (whole.model.image, whole.model.text):
        assert (tower.width, tower.layers, tower.heads) == (192, 6, 3)
    assert (whole.model.image.size, whole.model.image.patch_size) == (64, 8)
    assert (whole.model.text.context_length, whole.model.text.vocab_size) == (32, 49_408)


def test_figures_agree(tmp_path, capsys):
    """On eight devices, where every part is laid out as in training."""
    output, trace = tmp_path / "step.json", tmp_path / "trace"
    given = [f"--config={CONFIG}:alignclip", *SMALL, "--rounds=2", "--steps=1"]
    assert main(["bench", "step", *given, f"--output={output}", f"--trace={trace}"]) == 0
    found, said = json.loads(output.read_text()), capsys.readouterr().out
    work = sum(found["model_flop"].values())
    assert work == found["hardware_flop"]  # Nothing is computed again.
    assert found["devices"] == jax.device_count() and not found["peak_is_known"]
    middle = np.median(found["seconds"])
    assert found["images_per_second"] == pytest.approx(16 / middle)
    assert found["mfu"] == pytest.approx(work / middle / found["peak"])
    assert found["memory"]["temporary"] > 0 and found["memory"]["arguments"] > 0
    parts = ["image tower", "text tower", "loss", "optimiser", "copy of the batch"]
    assert list(found["parts"]) == parts and min(found["parts"].values()) > 0
    assert f"batch 16, float32; {jax.device_count()} × cpu" in said
    assert "which a product of 2,048² matrices on each device reached in these rounds" in said
    assert list(trace.rglob("*.xplane.pb"))


def test_a_step_is_trainings_own():
    """Its losses are those of the learner's step on the same batch, which training calls."""
    step = MeasuredStep(config())
    losses = [step.first_loss, *(step.round(1).loss for _ in range(2))]
    assert all(map(math.isfinite, losses)) and int(step.state.step) == 4
    assert losses[0] == pytest.approx(math.log(16), rel=0.2)  # At random, among 16 pairs.


def test_auto_is_what_training_takes_and_a_peak_is_that_of_all_devices():
    measured = MeasuredStep(config("clip", "--config.model.remat=auto"))
    assert measured.config.model.remat == measured.learner.config.model.remat == "none"
    found = step.product(measured)()
    assert found.sharding.device_set == {*jax.devices()}
    assert {part.data.shape for part in found.addressable_shards} == {(step.SIDE, step.SIDE)}


def test_a_deterministic_step_is_measured_as_it_trains(monkeypatch):
    """On a machine with a GPU's packages; the flags are given before anything else is told."""
    monkeypatch.setitem(PLATFORMS, "cuda", PLATFORMS["cuda"]._replace(packages=("jax",)))
    monkeypatch.setenv("JAX_PLATFORMS", "cuda,cpu")
    for variable in ("XLA_FLAGS", "XLA_PYTHON_CLIENT_MEM_FRACTION"):
        monkeypatch.setenv(variable, os.environ.get(variable, ""))
    given = [f"--config={CONFIG}:clip", "--config.deterministic=True", "--data"]
    assert main(["bench", "step", *given, "--peers", "transformers"]) == 2
    assert "--xla_gpu_deterministic_ops=true" in os.environ["XLA_FLAGS"].split()


def test_packed_captions_are_fed_as_training_feeds_them():
    given = ["--config.batch_size=256", "--config.microbatches=2", "--config.model.text.layers=6"]
    padded = MeasuredStep(config("clip", *given))
    packed = MeasuredStep(config("clip", *given, "--config.data.pack_captions=True"))
    plan, batch = packed.learner.packing, packed.placed(next(packed.batches))
    assert plan.groups == 2 * jax.device_count() and plan.counts[0] < plan.size
    for name, array in plan.shapes(plan.counts[0]).items():
        assert (batch[name].shape, batch[name].dtype) == (array.shape, array.dtype)
    assert packed.first_loss == pytest.approx(padded.first_loss, rel=1e-6)
    assert packed.model_flop()["text tower"] < 0.8 * padded.model_flop()["text tower"]
    assert step_parts.seconds(packed)["text tower"] > 0
    assert step.hardware_flop(packed) < step.hardware_flop(padded)


def test_what_embeds_without_learning_is_a_part(tmp_path):
    """Under the names of its FLOP, so that its line says its rate."""
    sentence_folders.without_torch(tmp_path)
    own = [f"--config.data.semantics_model={tmp_path}", "--config.data.semantics_from=step"]
    own += ["--config.data.semantics_tokens=24", "--config.objective.distillation_weight=1.0"]
    measured = MeasuredStep(config("alignclip", *own))
    found = step_parts.seconds(measured)
    assert measured.model_flop().keys() < found.keys()
    assert found["teacher"] > 0 and found["sentence encoder"] > 0


def test_a_random_batch_is_like_a_real_one():
    made = config("alignclip")
    batch = random_batch(runs.learner(made))
    for name, (shape, dtype) in records.batch_shapes(made).items():
        assert batch[name].shape == shape and batch[name].dtype == dtype
    ids, end = batch["text"], made.model.text.vocab_size - 1
    lengths = (ids != end).sum(1) + 1
    assert (ids[:, 0] == end - 1).all() and ids.min() >= 0 and ids.max() == end
    assert [list(row[n - 1 :]) for row, n in zip(ids, lengths, strict=True)] == [
        [end] * (32 - n + 1) for n in lengths
    ]
    assert 3 <= lengths.min() < lengths.max() <= 32


@pytest.mark.system
@pytest.mark.parametrize("preset", ["clip", "alignclip"])
def test_others_train_the_same_model(preset, tmp_path, capsys):
    """Whoever is there starts at our loss, or `SideBySide` raises; and has as many parameters."""
    pytest.importorskip("torch")
    names = [name for name in ("transformers", "open_clip") if step_peers.python_of(name)]
    step = MeasuredStep(config(preset))
    with SideBySide(step, names) as beside:
        beside.turn(1)
        found, lines = beside.figures(), list(beside.lines())
    own = sum(x.size for x in jax.tree.leaves(step.state.params))
    assert [of["parameters"] for of in found.values()] == [own] * len(names)
    assert all(of["ratios"][0] > 0 for of in found.values())
    assert [line.split()[0] for line in lines[1:-1]] == names


def test_a_program_that_is_not_here_is_told_of(monkeypatch, capsys):
    monkeypatch.setitem(PROGRAMS, "none", PROGRAMS["open_clip"]._replace(package="no_such_package"))
    with SideBySide(MeasuredStep(config()), ["none"]) as beside:
        beside.turn(1)
        assert not list(beside.lines())
    assert "No none here: pip install" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["--config.objective.uniformity_weight=1.0"], "objective.uniformity_weight=1.0"),
        (["--config.microbatches=2"], "microbatches=2"),
        (["--config.optimizer.name=lion"], "optimizer.name=lion"),
        (["--config.optimizer.moments=bfloat16"], "optimizer.moments=bfloat16"),
        (["--config.model.image.patch_dropout=0.5"], "model.image.patch_dropout=0.5"),
        (["--config.data.pack_captions=True"], "data.pack_captions=True"),
        (["--config.objective.tile=8"], "objective.tile=8"),
    ],
)
def test_what_others_cannot_train_is_one_line(given, why, tmp_path):
    with pytest.raises(UsageError, match=why):
        step_peers.job(config("clip", *given), tmp_path, False, "cpu")


@pytest.mark.parametrize(
    "given", [["--config=nothing.py"], [f"--config={CONFIG}", "--config.nothing=1"],
              [f"--config={CONFIG}", "--nothing"]],
)  # fmt: skip
def test_a_mistake_is_one_line(given, capsys):
    assert main(["bench", "step", *given]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
