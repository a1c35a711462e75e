"""What a config file's `sweep()` may say, which point is meant, and whose a folder is."""

from pathlib import Path

import pytest

from aligngap import config as configs
from aligngap.errors import AligngapError, UsageError
from aligngap.runs import sweep

import sweeps

POINTS = {"low": {"optimizer.peak_lr": 1e-4}, "tied": {"model.tie": "transformer", "seed": 3}}


@pytest.fixture
def file(tmp_path) -> Path:
    return sweeps.write(tmp_path / "points.py", POINTS)


def test_points_are_whole_configs_in_their_order(file):
    low, tied = sweep.points(f"{file}:alignclip", ["--config.steps=500"])
    assert (low.name, tied.name) == ("low", "tied")
    assert (low.config.optimizer.peak_lr, tied.config.optimizer.peak_lr) == (1e-4, 2e-3)
    assert (low.config.model.tie, tied.config.model.tie) == (
        "transformer+projection",
        "transformer",
    )
    assert low.config.steps == tied.config.steps == 500 and tied.config.seed == 3


def test_a_tuple_stays_one(tmp_path):
    factors = (("image_", 0.0), ("logit_scale", 0.1))
    file = sweeps.write(tmp_path / "points.py", {"lit": {"optimizer.lr_factors": factors}})
    assert sweep.points(str(file), [])[0].config.optimizer.lr_factors == factors


def test_a_sweep_may_be_of_a_preset(tmp_path):
    file = tmp_path / "points.py"
    file.write_text(
        "from configs.quickstart import get_config\n"
        "def sweep(preset='none'):\n"
        "    return {preset: {'seed': 1}}\n"
    )
    assert [point.name for point in sweep.points(f"{file}:sharedclip", [])] == ["sharedclip"]
    assert [point.name for point in sweep.points(str(file), [])] == ["none"]


def test_a_point_is_found_by_its_name_and_its_number(file):
    found = sweep.points(str(file), [])
    assert sweep.find(found, "tied") == sweep.find(found, "1") == found[1]
    for wanted in ("2", "-1", "high"):
        with pytest.raises(UsageError, match="the points are low, tied, or their numbers 0 to 1"):
            sweep.find(found, wanted)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ({"a": {"optimizer.peek_lr": 1}}, "point a: unknown config key 'optimizer.peek_lr'"),
        ({"a": {}, "b": {"steps": 0}}, "point b: config: steps=0"),
        ({"a": {"steps": "many"}}, "point a: .*many"),
        ({"../a": {}}, "'../a'"),
        ({".a": {}}, "'.a'"),
        ({"12": {}}, "'12'.*not digits alone"),
        ({3: {}}, "a point 3"),
        ({"a": ["seed"]}, "point a: expected"),
        ({"a": {"batch_size": 8}}, "--config.batch_size=4: point a of the sweep sets batch_size"),
        ({}, "must give"),
        ([("a", {})], "must give"),
    ],
)
def test_what_is_wrong_with_a_sweep_is_one_line(tmp_path, points, words):
    file = sweeps.write(tmp_path / "points.py", points)
    with pytest.raises(UsageError, match=words) as error:
        sweep.points(str(file), ["--config.batch_size=4"])
    assert "\n" not in str(error.value)


def test_a_file_without_a_sweep_and_one_that_fails(tmp_path, file):
    own = tmp_path / "own.py"
    own.write_text("from configs.quickstart import get_config\n")
    with pytest.raises(UsageError, match=r"own.py has no sweep\(\)"):
        sweep.points(str(own), [])
    with pytest.raises(UsageError, match="does not exist"):
        sweep.points(str(tmp_path / "none.py"), [])
    file.write_text(file.read_text() + "\ndef sweep():\n    return 1 / 0\n")
    with pytest.raises(UsageError, match=r"sweep\(\): division by zero"):
        sweep.points(str(file), [])


def test_quickstarts_points_are_its_presets():
    quickstart = str(Path(__file__).parents[2] / "configs" / "quickstart.py")
    for point in sweep.points(quickstart, ["--config.seed=1"]):
        assert point.config == configs.load(f"{quickstart}:{point.name}", ["--config.seed=1"])


def test_the_folder_of_a_sweep_is_its_points_in_their_order(tmp_path, file):
    folder = tmp_path / "runs"
    sweep.record(folder, sweep.points(str(file), []))
    assert sweep.workdirs(folder) == [folder / "low", folder / "tied"]
    assert sweep.workdirs(tmp_path) == [tmp_path]
    (folder / "low").mkdir()
    (folder / "low" / "evaluation.json").write_text("{}")
    assert sweep.evaluated([folder]) == [folder / "low"]
    for again in (folder, folder / "low", folder / ".." / "runs" / "low"):
        with pytest.raises(UsageError, match="low comes twice"):
            sweep.evaluated([folder, again])
    (folder / "sweep.json").write_text('{"points": {"../elsewhere": {}}}')
    with pytest.raises(AligngapError, match="does not say its points"):
        sweep.workdirs(folder)
