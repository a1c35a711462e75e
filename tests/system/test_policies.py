"""Which checkpoints are saved and kept, and going back over a spike, as a user asks for them."""

import pytest

from aligngap import config as configs
from aligngap.errors import UsageError
from aligngap.runs.checkpoints import Checkpoints
from aligngap.training import run as runs

from workdirs import metrics, saved_steps

pytestmark = [pytest.mark.system, pytest.mark.corpus]


def test_the_best_is_kept_beside_the_latest(program, tmp_path):
    best = "validation/gap/centroid_distance"  # Falls at first: the highest is an early one.
    done = program.train(
        tmp_path,
        checkpoint__keep=1,
        checkpoint__best=best,
        evaluated_every=2,
    )
    assert done.returncode == 0, done.stderr
    measured = {line["step"]: line[best] for line in metrics(tmp_path) if best in line}
    measured.pop(0)  # Nothing is saved before the first step.
    highest = max(measured, key=measured.get)
    assert saved_steps(tmp_path) == sorted({highest, 8})


def test_saves_by_the_clock(program, tmp_path):
    """Every 60 ms, which several steps take; by count there would be the last alone."""
    done = program.train(
        tmp_path, steps=40, checkpoint__every_steps=1000, checkpoint__every_minutes=0.001,
        checkpoint__keep=100, evaluated_every=40,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(saved_steps(tmp_path)) > 2 and saved_steps(tmp_path)[-1] == 40


def test_the_best_is_saved_where_it_is_measured(program, tmp_path):
    """Every 3 steps, and by count every 5: step 6 would never be saved."""
    best = "validation/gap/alignment_score"  # Rises.
    fields = {"checkpoint__best": best, "checkpoint__every_steps": 5, "evaluated_every": 3}
    done = program.train(tmp_path, steps=7, checkpoint__keep=100, **fields)
    assert done.returncode == 0, done.stderr
    assert saved_steps(tmp_path) == [3, 5, 6, 7]


@pytest.mark.parametrize("best", ["validation/nonsense", "validation/zero_shot/group/acc1"])
def test_a_best_that_nothing_measures_is_refused(program, tmp_path, best):
    """The evaluator zero_shot has no period."""
    _, file, _, *flags = program.train_arguments(tmp_path / "run", checkpoint__best=best)
    with pytest.raises(UsageError, match=f"checkpoint.best='{best}' is not measured while"):
        runs.prepare(configs.load(file.removeprefix("--config="), flags), tmp_path / "run")
    assert not (tmp_path / "run").exists()


SPIKY = {
    "steps": 12,
    "health__spike_sigma": 0.001,  # Any loss above the mean of the two before.
    "health__spike_window": 2,
    "health__roll_backs": 2,
    "evaluated_every": 12,
}


def test_a_spike_goes_back_and_past_its_batches(program, tmp_path):
    done = program.train(tmp_path / "run", **SPIKY)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Rolling back to the last checkpoint") == 2
    trained = [line["step"] for line in metrics(tmp_path / "run") if "train/loss" in line]
    assert trained == list(range(1, 13))
    run = runs.reopen(tmp_path / "run")
    with Checkpoints(tmp_path / "run", run.config) as checkpoints:
        position = run.load(checkpoints, checkpoints.steps()[-1])[1]
    assert position.roll_backs == 2 and position.skipped >= 2
