"""Trained, fine-tuned on a labelled set, evaluated: as a user does it, at tiny size."""

import json
import shutil

import pytest

from aligngap import config as configs
from aligngap.errors import UsageError
from aligngap.runs import workdir

from programs import ROOT
from workdirs import metrics

pytestmark = [pytest.mark.system, pytest.mark.corpus]
CONFIG = ROOT / "configs" / "fine_tune.py"


def overrides(program, **more):
    fields = {
        "data.data_dir": program.data_dir,
        "data.train_split": "validation",
        "data.validation_split": "test_unseen_both",
        "data.test_splits": "('test_unseen_both',)",
        "steps": 4,
        "batch_size": 32,
        "optimizer.warmup_steps": 1,
        "checkpoint.every_steps": 4,
        "log.every_steps": 1,
        "evaluators.gap.every_steps": 0,
        "evaluators.retrieval.every_steps": 0,
    }
    return [f"--config.{name}={value}" for name, value in {**fields, **more}.items()]


def test_a_labelled_set_then_zero_shot_and_probe(program, finished, tmp_path):
    source, run = shutil.copytree(finished, tmp_path / "source"), tmp_path / "tuned"
    more = {
        "data.class_captions": "group",
        "evaluators.zero_shot.every_steps": 4,
        "evaluators.probe.every_steps": 4,
        "evaluators.probe.kinds": "('group',)",
    }
    given = overrides(program, **more)
    done = program.run("train", f"--config={CONFIG}:labelled,{source}", f"--workdir={run}", *given)
    assert done.returncode == 0, done.stderr
    found = metrics(run)
    # Of 8 groups in a batch of 32, images of one class are no negatives of each other.
    losses = [line["train/loss"] for line in found if "train/loss" in line]
    assert len(losses) == 4 and losses[-1] < losses[0] + 1
    curves = [line for line in found if "validation/probe/group/lp_acc1" in line]
    assert [line["step"] for line in curves] == [0, 4]
    assert all(0 < line["validation/probe/group/lp_acc1"] < 1 for line in curves)
    shutil.rmtree(source)
    done = program.run("evaluate", f"--workdir={run}")
    assert done.returncode == 0, done.stderr
    values = json.loads((run / "evaluation.json").read_text())["splits"]["test_unseen_both"]
    probe = values["probe"]["group"]
    assert 0 < probe["lp_acc1"]["low"] < probe["lp_acc1"]["high"] < 1
    assert probe["lp_acc1"]["chance"] == 0.125
    assert probe["lp_acc1"]["value"] == pytest.approx(
        curves[-1]["validation/probe/group/lp_acc1"], abs=0.01
    )
    assert 0 <= values["zero_shot"]["group"]["acc1"]["value"] <= 1


def test_both_presets_take_the_model_of_a_run(program, finished):
    for how in ("labelled", "retrieval"):
        config = configs.load(f"{CONFIG}:{how},{finished}", overrides(program))
        source = workdir.read_config(finished)
        assert config.model.to_dict() == source.model.to_dict()
        assert (config.init_from, config.data.mean) == (str(finished), source.data.mean)
        assert config.data.class_captions == ("label" if how == "labelled" else "")
    assert configs.load(str(CONFIG), []).model.image.width == 768


def test_another_preset_is_refused():
    with pytest.raises(UsageError, match="preset 'linear': one of labelled, retrieval"):
        configs.load(f"{CONFIG}:linear", [])
