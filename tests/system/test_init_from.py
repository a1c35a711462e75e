"""A run that starts from another workdir's model: which bits it takes, and what it refuses."""

import json
import shutil

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

import aligngap
from aligngap import cli
from aligngap import config as configs
from aligngap.errors import AligngapError, UsageError
from aligngap.runs import initial
from aligngap.runs.checkpoints import Checkpoints
from aligngap.training import run as runs
from aligngap.training import state

from workdirs import metrics

pytestmark = [pytest.mark.system, pytest.mark.corpus]


@pytest.fixture
def train(program, finished, tmp_path):
    """Runs the verb from the finished run; returns its exit code and its errors."""

    def run(*more, source=finished, **overrides):
        arguments = program.train_arguments(tmp_path / "run", **overrides)
        done = program.run(*arguments, f"--init_from={source}", *more)
        return done.returncode, done.stderr

    return run


@pytest.fixture
def refused(program, finished, tmp_path):
    """The error with which a run from the finished one is refused before its first step."""

    def run(*more, source=finished, **overrides):
        _, file, _, *flags = program.train_arguments(tmp_path / "run", **overrides)
        with pytest.raises(AligngapError) as error:
            config = configs.load(file.removeprefix("--config="), [*flags, *more])
            config.init_from = str(source)
            runs.prepare(config, tmp_path / "run")
        assert not (tmp_path / "run").exists()
        return error

    return run


def flat(tree):
    return {name: np.asarray(x) for name, x in flatten_dict(jax.device_get(tree), sep="/").items()}


def beginnings(workdir):
    """Parameters at step 0 of the run in `workdir`, and its optimiser's state."""
    run = runs.reopen(workdir)
    made = state.start(run.config, run.module, run.tx, run.mesh, initial.find(run.config))
    return flat(made.params), jax.tree.leaves(made.opt_state)


def test_it_takes_weights_alone_and_the_tokenizer(train, finished, tmp_path):
    code, said = train(steps=3, optimizer__warmup_steps=1)
    assert code == 0, said
    source = aligngap.load(finished)
    taken, moments = beginnings(tmp_path / "run")
    wanted = flat(source.params)
    assert taken.keys() == wanted.keys()
    for name, array in taken.items():
        np.testing.assert_array_equal(array, wanted[name], name)
    assert all(np.all(np.asarray(array) == 0) for array in moments)
    name = "tokenizer/tokenizer.json"
    assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes()
    first, last = (
        next(line for line in metrics(folder) if line["step"] == step and "train/loss" not in line)
        for folder, step in ((tmp_path / "run", 0), (finished, 8))
    )
    assert first["validation/gap/centroid_distance"] == pytest.approx(
        last["validation/gap/centroid_distance"], abs=1e-6
    )


@pytest.mark.usefixtures("evaluated")
def test_before_training_it_is_its_source(train, finished, tmp_path):
    code, said = train(steps=1, optimizer__warmup_steps=0)
    assert code == 0, said
    assert cli.main(["evaluate", f"--workdir={tmp_path / 'run'}"]) == 0
    here, there = (json.loads((f / "gap.json").read_text()) for f in (tmp_path / "run", finished))
    wanted = there["splits"]["test_unseen_both"]["measures"]
    for name, found in here["initial"]["test_unseen_both"]["measures"].items():
        assert found["value"] == pytest.approx(wanted[name]["value"], rel=1e-4, abs=1e-5), name


def test_heads_start_anew_at_another_dimension_and_a_tower_is_locked(train, finished, tmp_path):
    code, said = train(
        "--config.fresh=('projection',)",
        "--config.optimizer.lr_factors=(('^transformer/', 0.0),)",
        steps=3,
        optimizer__warmup_steps=1,
        model__embed_dim=8,
    )
    assert code == 0, said
    wanted = flat(aligngap.load(finished).params)
    run = runs.reopen(tmp_path / "run")
    new = flat(state.create(run.config, run.module, run.tx, run.mesh).params)
    taken, _ = beginnings(tmp_path / "run")
    trained = flat(aligngap.load(tmp_path / "run").params)
    assert taken["projection/kernel"].shape == (32, 8)
    for name, array in taken.items():
        source = new if name.startswith("projection") else wanted
        np.testing.assert_array_equal(array, source[name], name)
        locked = name.startswith("transformer/")
        assert np.array_equal(trained[name], array) == locked, name


def test_it_goes_on_by_itself_without_its_source(train, finished, tmp_path):
    source = shutil.copytree(finished, tmp_path / "source")
    assert train(source=source, steps=2, optimizer__warmup_steps=1)[0] == 0
    shutil.rmtree(source)
    shutil.rmtree(tmp_path / "run" / "tokenizer")
    kept = tmp_path / "run" / "checkpoints"
    assert [path.name for path in kept.iterdir()] == ["2"]
    code, said = train(source=source, steps=2, optimizer__warmup_steps=1)
    assert code == 0, said
    assert "Continuing" in said


@pytest.mark.parametrize(
    ("more", "overrides", "words"),
    [
        ([], {"preset": "clip"}, ["--config.model.tie=transformer+projection"]),
        (
            ["--config.model.image.activation=quick_gelu"],
            {"model__text__activation": "quick_gelu"},
            ["--config.model.image.activation=gelu", "--config.model.text.activation=gelu"],
        ),
        ([], {"model__embed_dim": 8}, ["projection/kernel is (32, 16) there and (32, 8) here"]),
        ([], {"data__tokenizer": "trained", "data__std": (1.0, 1.0, 1.0)}, ["--config.data.std="]),
        (["--config.fresh=('projektion',)"], {}, ["'projektion'", "projection/kernel"]),
        (["--config.fresh=('(',)"], {}, ["fresh: '('"]),
        ([], {"source": "nowhere"}, ["nowhere holds no run"]),
        (["--config.fresh=('projection',)"], {"source": ""}, ["fresh", "--init_from=DIR"]),
    ],
)
def test_what_does_not_fit_is_refused(refused, more, overrides, words):
    error = refused(*more, **overrides)
    assert (error.type is UsageError) == (overrides.get("source") != "nowhere")
    for word in words:
        assert word in str(error.value)


def test_a_source_without_tokenizer_is_told(train, finished, tmp_path):
    source = shutil.copytree(finished, tmp_path / "source")
    shutil.rmtree(source / "tokenizer")
    code, said = train(source=source)
    assert code == 1
    last = said.strip().splitlines()[-1]
    assert last.startswith("aligngap: ") and "has no tokenizer" in last
    assert not (tmp_path / "run").exists()


def test_a_run_of_an_average_starts_it_at_the_source(train, finished, tmp_path):
    code, said = train(steps=2, optimizer__warmup_steps=1, optimizer__ema_decay=0.9)
    assert code == 0, said
    run = runs.reopen(tmp_path / "run")
    with Checkpoints(tmp_path / "run", run.config) as checkpoints:
        saved = run.load(checkpoints, 2)[0]
    start, now, averaged = (
        flat(t) for t in (aligngap.load(finished).params, saved.params, saved.averaged)
    )
    for name in start:
        assert np.all(
            np.abs(averaged[name] - start[name]) <= np.abs(now[name] - start[name]) + 1e-6
        )


def test_a_model_that_comes_with_it_is_to_be_imported_first(refused):
    said = str(refused(source="clip-pictograms").value)
    assert "`aligngap import --source=clip-pictograms --workdir=DIR`" in said
    assert "is none of the models that come with aligngap" in str(refused(source="clap").value)


@pytest.mark.parametrize("form", ["npz", "transformers", "open_clip"])
def test_so_is_an_exported_one(refused, finished, tmp_path, form):
    """Which `embed`, `evaluate` and `aligngap.load` open as it is."""
    given = ["--workdir=clip-pictograms", f"--output={tmp_path / form}"]
    assert cli.main(["export", f"--format={form}", *given]) == 0
    said = str(refused(source=tmp_path / form).value)
    assert f"`aligngap import --source={tmp_path / form} --workdir=DIR`" in said
    assert not (tmp_path / form / "checkpoints").exists()  # It stays what it was.


def test_clip_refine_is_taught_by_the_model_it_starts_from(train, refused, finished, tmp_path):
    """The teacher is that model to the bit, the student is not."""
    own = {"objective__contrastive_weight": 0.0, "objective__random_alignment_weight": 1.0,
           "objective__distillation_weight": 1.0, "optimizer__warmup_steps": 1}  # fmt: skip
    said = str(refused("--config.fresh=('projection',)", **own).value)
    assert said.startswith("objective.distillation_weight needs --init_from=DIR")
    code, said = train(steps=3, **own)
    assert code == 0, said
    run = runs.reopen(tmp_path / "run")
    with Checkpoints(tmp_path / "run", run.config) as checkpoints:
        saved, _ = run.load(checkpoints, 3)
    wanted = flat(aligngap.load(finished).params)
    teacher, student = flat(saved.teacher), flat(saved.params)
    for name, array in wanted.items():
        np.testing.assert_array_equal(teacher[name], array, name)
    assert any((student[name] != array).any() for name, array in wanted.items())
    losses = [x for x in metrics(tmp_path / "run") if "train/distillation" in x]
    assert losses and all(x["train/distillation"] > 0 < x["train/random_alignment"] for x in losses)
