"""`aligngap study rates`: the best of each method by validation, what is left out, what is said."""

import json
import shutil

import pytest

from aligngap import cli
from aligngap.presets import preset
from aligngap.reporting.study_page import rates

TEXT, IMAGE = rates.DECIDES


@pytest.fixture
def sweep(tmp_path):
    """(point → (method, rate, R@10 to texts, to images, the step it is at)) → the folder of it."""

    def make(**points):
        for name, (method, rate, text, image, step) in points.items():
            config = preset("clip")
            config.name, config.optimizer.peak_lr = method, rate
            config.steps, config.optimizer.warmup_steps = 100, 10
            (tmp_path / name).mkdir(parents=True)
            (tmp_path / name / "config.json").write_text(config.to_json())
            records = [
                {"step": 50, TEXT: 0.9, IMAGE: 0.9},
                {"step": step, "train/loss": 1.0},
                {"step": step, TEXT: text, IMAGE: image},
            ]
            lines = "".join(f"{json.dumps(record)}\n" for record in records)
            (tmp_path / name / "metrics.jsonl").write_text(lines + '{"step": 101, "tra')
        held = {"points": {name: {} for name in [*points, "later"]}}
        (tmp_path / "sweep.json").write_text(json.dumps(held))
        return tmp_path

    return make


def test_the_best_by_validation_after_the_last_step(sweep, capsys):
    folder = sweep(
        a=("clip", 1e-3, 0.2, 0.3, 100),
        b=("clip", 2e-3, 0.5, 0.1, 100),
        c=("clip", 4e-3, 0.1, 0.1, 100),
        d=("cua", 1e-3, 0.2, 0.2, 100),
        e=("cua", 2e-3, 0.2, 0.2, 100),
        f=("cua", 4e-3, 0.9, 0.9, 99),
    )
    found = rates.choose(rates.read([folder]))
    assert found["clip"].reached == pytest.approx({1e-3: 0.25, 2e-3: 0.3, 4e-3: 0.1})
    assert (found["clip"].rate, found["clip"].at_an_end) == (2e-3, False)
    assert (found["cua"].rate, found["cua"].at_an_end) == (1e-3, True)
    capsys.readouterr()
    assert cli.main(["study", "rates", f"--workdir={folder}"]) == 0
    said = capsys.readouterr()
    assert [line.split()[0] for line in said.err.splitlines()] == [f"{folder}/f", f"{folder}/later"]
    assert said.out.splitlines()[-1] == 'CHOSEN = {"clip": 0.002, "cua": 0.001}'
    assert "at an end of the grid" in said.out.splitlines()[-2]


def test_nothing_finished_is_one_line(sweep, capsys):
    folder = sweep(a=("clip", 1e-3, 0.2, 0.3, 60))
    assert cli.main(["study", "rates", f"--workdir={folder}"]) == 1
    assert "is finished: train them" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("value", [None, "x", [], 10**400])
def test_what_decides_is_a_number(value, sweep, capsys):
    folder = sweep(a=("clip", 1e-3, 0.2, value, 100))
    assert cli.main(["study", "rates", f"--workdir={folder}"]) == 1
    said = capsys.readouterr().err
    assert f"{folder}/a/metrics.jsonl cannot be read (/{IMAGE} is " in said, said


def test_runs_of_a_grid_are_kept_where_they_are_gone(sweep, tmp_path):
    output = tmp_path / "out"
    folder = sweep(a=("clip", 1e-3, 0.2, 0.3, 100), b=("clip", 2e-3, 0.5, 0.1, 100))
    assert rates.gather([folder], output)["clip"].at_an_end
    later = sweep(c=("clip", 4e-3, 0.1, 0.1, 100), d=("clip", 2e-3, 0.5, 0.3, 100))
    for name in "ab":
        shutil.rmtree(folder / name)
    found = rates.gather([later], output)
    assert found["clip"].reached == pytest.approx({1e-3: 0.25, 2e-3: 0.4, 4e-3: 0.1})
    assert rates.gather([], output) == found and not found["clip"].at_an_end
    assert rates.gather([], tmp_path / "other") == {}
