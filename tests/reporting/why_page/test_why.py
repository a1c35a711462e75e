"""`aligngap study why` of planted runs, and effects against least squares."""

import itertools
import json

import numpy as np
import pytest

from aligngap import cli
from aligngap.reporting.study_page import runs
from aligngap.reporting.study_page.measured import Measured
from aligngap.reporting.study_page.records import Wanted
from aligngap.reporting.why_page import effects, points

RATE, HIGH = 1e-3, 4e-3
CELLS = [*itertools.product((False, True), repeat=4)]
# What each part, and tying with alignment, adds to the gap that is planted.
TYING = -0.1
ADDED = {(0,): -0.2, (1,): -0.1, (2,): 0.04, (3,): -0.02, (0, 1): 0.06}


def gap_of(cell, rate=RATE):
    """Tying adds TYING more at the high learning rate."""
    signs = [1 if part else -1 for part in cell]
    higher = TYING * signs[0] / 2 if rate == HIGH else 0
    return (
        0.6 + higher + sum(x / 2 * np.prod([signs[i] for i in which]) for which, x in ADDED.items())
    )


def test_effects_are_those_of_least_squares():
    """Twice the coefficients of ±1 coding, whose errors are the textbook's."""
    random = np.random.default_rng(0)
    found = {cell: random.normal(gap_of(cell), 0.1, size=3) for cell in CELLS}
    rows = np.array([[1.0 if x else -1.0 for x in cell] for cell in found for _ in range(3)])
    terms = [which for k in range(5) for which in itertools.combinations(range(4), k)]
    design = np.stack([rows[:, which].prod(axis=1) for which in terms], axis=1)
    y = np.concatenate([*found.values()])
    coefficients, (rest,), *_ = np.linalg.lstsq(design, y)
    error = np.sqrt(rest / 32 * np.diag(np.linalg.inv(design.T @ design)))
    t = 2.0369333434601011  # Student's, 32 degrees of freedom, from a table.
    got = effects.effects(found)
    assert set(got) == {which for which in terms if len(which) in (1, 2)}
    for which, x in got.items():
        place = terms.index(which)
        assert x.value == pytest.approx(2 * coefficients[place], abs=1e-12)
        reach = 2 * t * error[place]
        assert (x.high - x.value, x.value - x.low) == pytest.approx((reach, reach), rel=1e-9)


def test_changes_of_one_cell_are_those_of_two_means():
    """With the variance that least squares find for a mean a cell."""
    random = np.random.default_rng(2)
    found = {c: random.normal(gap_of(c), 0.1, size=2 + (n % 2)) for n, c in enumerate(CELLS)}
    base, whole = CELLS[0], CELLS[-1]
    y = np.concatenate([*found.values()])
    design = np.repeat(np.eye(16), [len(x) for x in found.values()], axis=0)
    _, (rest,), *_ = np.linalg.lstsq(design, y)
    covariance = rest / 24 * np.linalg.inv(design.T @ design)
    t = 2.0638985616280205  # Student's, 24 degrees of freedom, from a table.
    for start, got in ((cell, effects.changes(found, cell)) for cell in (base, whole)):
        assert set(got) == {0, 1, 2, 3}
        for part, x in got.items():
            changed = tuple(had != (n == part) for n, had in enumerate(start))
            contrast = np.zeros(16)
            contrast[CELLS.index(changed)], contrast[CELLS.index(start)] = 1, -1
            assert x.value == pytest.approx(found[changed].mean() - found[start].mean())
            reach = t * np.sqrt(contrast @ covariance @ contrast)
            assert (x.high - x.value, x.value - x.low) == pytest.approx((reach, reach), rel=1e-9)


def test_intervals_hold_the_truth_as_often_as_stated():
    """Of 400 designs with one run in half of the cells, two in the others: 8 degrees of freedom."""
    random, inside = np.random.default_rng(1), 0
    for _ in range(400):
        found = {c: random.normal(gap_of(c), 0.1, size=1 + (n % 2)) for n, c in enumerate(CELLS)}
        x = effects.effects(found)[0, 1]
        inside += x.low <= ADDED[0, 1] <= x.high
    assert inside / 400 == pytest.approx(0.95, abs=0.035)  # Three standard deviations.


def test_effects_without_spread_and_without_a_cell():
    found = effects.effects({cell: [gap_of(cell)] for cell in CELLS})
    assert all(np.isnan(x.low) and np.isnan(x.high) for x in found.values())
    assert found[0, 1].value == pytest.approx(0.06) and found[2, 3].value == pytest.approx(0)
    with pytest.raises(ValueError, match="of 16 cells some have no run"):
        effects.effects({cell: [1.0] for cell in CELLS[1:]})


def plant(make_run, folder, name, seed, gap, cell=(False,) * 4, **knobs):
    """A run evaluated on validation alone, whose config says its parts."""
    workdir = make_run(folder / f"{name}-{seed}", name, gap=gap, recall=0.5 - gap / 10, seed=seed)
    config = json.loads((workdir / "config.json").read_text())
    tie, alignment, uniformity, cross = cell
    config["model"] = {"tie": "transformer" if tie else "none", "embed_dim": knobs.get("size", 256)}
    config["model"]["scale_init"] = knobs.get("scale", 14.3)
    config["batch_size"] = knobs.get("batch", 256)
    config["optimizer"] = {"peak_lr": knobs.get("rate", RATE)}
    config["objective"] = {"temperature": "fixed" if "scale" in knobs else "learned"} | {
        "alignment_weight": float(alignment),
        "uniformity_weight": float(uniformity),
        "cross_uniformity_weight": float(cross),
    }
    (workdir / "config.json").write_text(json.dumps(config | knobs.get("further", {})))
    evaluation = json.loads((workdir / "evaluation.json").read_text())
    evaluation |= {"main": "validation", "evaluators": {"gap": {"type": "gap"}}}
    evaluation["splits"] = {"validation": evaluation["splits"]["test_unseen_style"]}
    evaluation |= {"before": {}, "step": knobs.get("steps", 120)}
    (workdir / "evaluation.json").write_text(json.dumps(evaluation))
    with np.load(workdir / "embeddings.npz") as arrays:
        kept = {name.replace("test_unseen_style/", "validation/"): x for name, x in arrays.items()}
    kept["step"] = np.array(evaluation["step"])
    kept["validation/trained/pair_text"] = kept["validation/trained/image"][::-1]
    np.savez(workdir / "embeddings.npz", **kept)
    with (workdir / "metrics.jsonl").open("w") as file:
        file.write('{"step": 119, "train/scale": 3.0}\n{"step": 120, "train/scale": 7.5}\n')
        file.write('{"step": 120, "validation/mine": 1.0}\n{"step": 121, "train/sc')
    return workdir.name


@pytest.fixture(scope="module")
def sweep(make_run, tmp_path_factory):
    """All combinations at two learning rates, two seeds each; then tied CUAXU with two fixed
    scales, two sizes, a weight and a batch at the high rate, CLIP with a scale at the low one."""
    folder = tmp_path_factory.mktemp("why")
    names = []
    for cell, rate, seed in itertools.product(CELLS, (RATE, HIGH), (0, 1)):
        name = f"{'tied' if cell[0] else 'untied'}_{''.join(itertools.compress('aux', cell[1:]))}"
        gap = gap_of(cell, rate) + 0.01 * (seed - 0.5)
        names.append(plant(make_run, folder, f"{name}_{rate}", seed, gap, cell, rate=rate))
    whole = (True,) * 4
    for name, gap, cell, knobs in (
        ("cold", 0.31, whole, {"scale": 50.0}),
        ("hot", 0.21, whole, {"scale": 5.0}),
        ("small", 0.41, whole, {"size": 32}),
        ("large", 0.42, whole, {"size": 512}),
        ("much", 0.51, (True, True, 4, True), {}),
        ("batch", 0.52, whole, {"batch": 1024, "rate": 2 * HIGH, "steps": 30}),
        ("long", 0.53, whole, {"batch": 1024, "rate": 2 * HIGH}),
    ):
        names.append(plant(make_run, folder, name, 0, gap, cell, **{"rate": HIGH} | knobs))
    names.append(plant(make_run, folder, "plain_hot", 0, 0.22, scale=5.0))
    points = {name: {} for name in [*names, "untied_-2"]}
    (folder / "sweep.json").write_text(json.dumps({"points": points}))
    return folder


def test_the_page_finds_what_was_planted(sweep, capsys):
    output = sweep / "out"
    assert cli.main(["study", "why", f"--workdir={sweep}", f"--output={output}"]) == 0
    said = capsys.readouterr().out
    page = (output / "README.md").read_text()
    for picture in ("why.png", "why_clouds.png"):
        assert (output / picture).read_bytes().startswith(b"\x89PNG") and f"({picture})" in page
    for rate, tying in ((RATE, ADDED[0,]), (HIGH, ADDED[0,] + TYING)):
        table = page.partition(f"\nAt {rate:g}:\n")[2].partition("\n\nAt ")[0].splitlines()
        rows = {line.split("|")[1].strip(): line.split("|") for line in table if "|" in line}
        assert rows["tying"][2].strip().startswith(f"**−{-tying:.3f} [")
        assert rows["tying × alignment"][2].strip().startswith("**+0.060 [+0.05")
        # One column is constant: nothing has an effect on it.
        assert rows["tying × alignment"][-2].strip().startswith("+0.000 [")
        assert f"\n{rate:<6g}  distance of the centroids" in said
    assert "| yes | yes | yes | yes | 0.004 | " in page and "| 7.5 ± 0.0 |" in page
    changed = page.partition("## One part at a time")[2].partition("## ")[0].splitlines()
    changed = {line.split("|")[1].strip(): line.split("|")[2].strip("* ") for line in changed[4:-2]}
    added = gap_of((False, True, False, False)) - gap_of((False,) * 4)
    left_out = gap_of((False, True, True, True), HIGH) - gap_of((True,) * 4, HIGH)
    assert len(changed) == 8
    assert changed["CLIP + alignment"].startswith(f"{added:+.3f} [".replace("-", "−"))
    assert changed["tied CUAXU − tying"].startswith(f"{left_out:+.3f} [")
    temperature = page.partition("## Temperature")[2].partition("## ")[0]
    assert [line.split("|")[1:4] for line in temperature.splitlines() if "CUAXU" in line] == [
        [" tied CUAXU ", " 5 ", " 0.210 "],
        [" tied CUAXU ", " 50 ", " 0.310 "],
        [" tied CUAXU ", " learnt ", f" {gap_of((True,) * 4, HIGH):.3f} ± 0.007 "],
    ]
    assert "| 4 | 0.510 |" in page.partition("| weight of uniformity |")[2].partition("\n\n")[0]


def test_points_are_sorted_by_what_they_are(sweep, tmp_path):
    found = points.read(Measured(runs.gather([sweep], tmp_path, Wanted(plane=points.SPLIT))))
    assert found.own == {
        "CLIP": points.Knobs(None, 256, 256, RATE),
        "tied CUAXU": points.Knobs(None, 256, 256, HIGH),
    }
    assert found.rates == (RATE, HIGH) and all(len(found.cells(x)) == 16 for x in found.rates)
    turned = {knob: found.turned(knob) for knob in ("scale", "batch", "size")}
    assert [*turned["scale"]["tied CUAXU"]] == [5.0, 50.0]
    assert [*turned["scale"]["CLIP"]] == [5.0]
    assert [*turned["size"]["tied CUAXU"]] == [32.0, 256.0, 512.0]
    assert [*turned["batch"]] == ["CLIP", "tied CUAXU", "tied CUAXU, as many steps"]
    for name, steps in (("tied CUAXU", 30), ("tied CUAXU, as many steps", 120)):
        assert [*turned["batch"][name]] == [256.0, 1024.0]
        assert turned["batch"][name][1024.0].steps == steps
    assert [*turned["batch"]["CLIP"]] == [256.0]
    assert [*found.weighed()["uniformity"]] == [0.0, 1.0, 4.0]
    assert [*found.weighed()["all three"]] == [0.0, 1.0]


def test_another_sweeps_run_is_refused_by_what_it_differs_in(sweep, make_run, tmp_path, capsys):
    other = {"further": {"data": {"max_keywords": 9}}}
    plant(make_run, tmp_path, "strange", 0, 0.3, **other)
    given = [f"--workdir={folder}" for folder in (sweep, tmp_path / "strange-0")]
    assert cli.main(["study", "why", *given, f"--output={tmp_path / 'out'}"]) == 1
    said = capsys.readouterr().err
    assert "strange-seed0 differs from CLIP in data.max_keywords: give runs of" in said
    assert not (tmp_path / "out").exists()


def test_without_clip_there_is_nothing_to_compare_with(make_run, tmp_path, capsys):
    plant(make_run, tmp_path, "tied", 0, 0.3, (True, False, False, False))
    given = f"--workdir={tmp_path / 'tied-0'}"
    assert cli.main(["study", "why", given, f"--output={tmp_path / 'out'}"]) == 1
    assert "no run of CLIP as it is" in capsys.readouterr().err
