"""Runs and seeds beside each other: which are one method, means, spreads, paired differences."""

import json
import re

import numpy as np
import pytest

from aligngap.cli import main
from aligngap.errors import AligngapError, UsageError
from aligngap.reporting.compare_page import methods, page, table

SPLIT, KEY = "test_unseen_both", "text_retrieval_recall@10"


@pytest.fixture
def evaluated(make_run, tmp_path):
    """(folder, name, seed, its items' mean, **config) → a workdir with what each item scored."""

    def make(folder, name, seed, level, **fields):
        workdir = make_run(tmp_path / folder, name, seed=seed)
        config = json.loads((workdir / "config.json").read_text()) | fields
        (workdir / "config.json").write_text(json.dumps(config))
        arrays = dict(np.load(workdir / "embeddings.npz"))
        items = (np.random.default_rng(seed).random(40) < level).astype(np.float32)
        arrays[f"{SPLIT}/scores/retrieval/{KEY}"] = items
        arrays[f"{SPLIT}/clusters/retrieval/{KEY}"] = np.arange(40) // 2
        np.savez(workdir / "embeddings.npz", **arrays)
        found = json.loads((workdir / "evaluation.json").read_text())
        found["evaluators"] = {"retrieval": {"type": "retrieval", "final": "tests"}}
        leaf = found["splits"][SPLIT]["retrieval"][KEY]
        leaf |= {"value": float(items.mean()), "low": 0.0, "high": 1.0}
        (workdir / "evaluation.json").write_text(json.dumps(found))
        return workdir

    return make


@pytest.fixture
def six(evaluated):
    """Three seeds of each of two methods, not in order; one lies on another disk."""
    return [
        evaluated("c0", "clip", 0, 0.3),
        evaluated("a0", "alignclip", 0, 0.6),
        evaluated("c1", "clip", 1, 0.3, data={"data_dir": "/elsewhere"}),
        evaluated("a1", "alignclip", 1, 0.6),
        evaluated("c2", "clip", 2, 0.3),
        evaluated("a2", "alignclip", 2, 0.6),
    ]


def test_means_spreads_and_paired_differences(six):
    found = methods.methods(methods.read(six))
    assert [(one.label, len(one.runs)) for one in found] == [("CLIP", 3), ("AlignCLIP", 3)]
    (row,) = (row for row in table.rows(found, SPLIT) if row.name == KEY)
    items = {
        run.name: np.load(run / "embeddings.npz")[f"{SPLIT}/scores/retrieval/{KEY}"] for run in six
    }
    values = {side: [items[f"{side}{i}"].mean() for i in range(3)] for side in "ca"}
    for side, reached in zip("ca", row.reached, strict=True):
        assert reached.mean == pytest.approx(np.mean(values[side]))
        assert reached.spread == pytest.approx(np.std(values[side], ddof=1))
    (apart,) = row.differences
    assert apart.value == pytest.approx(np.mean(values["a"]) - np.mean(values["c"]))
    assert apart.low < apart.value < apart.high
    (gap,) = (row for row in table.rows(found, SPLIT) if row.name == "a_new_measure")
    assert gap.differences[0].value == 0 and np.isnan(gap.differences[0].low)


def test_the_command_prints_and_draws(six, tmp_path, capsys):
    out = tmp_path / "out"
    given = [f"--workdir={run}" for run in six]
    assert main(["evaluate", "--compare", *given]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"retrieval/text_retrieval_recall@10 +0\.\d+ ± 0\.\d+ +0\.\d+ ±", printed)
    assert not out.exists()
    assert main(["evaluate", "--compare", *given, f"--output={out}"]) == 0
    assert capsys.readouterr().out == printed
    found = json.loads((out / "comparison.json").read_text())
    assert [one["seeds"] for one in found["methods"]] == [[0, 1, 2], [0, 1, 2]]
    leaf = found["splits"][SPLIT]["retrieval"][KEY]
    assert leaf["values"][0]["runs"] == 3
    assert set(leaf["differences"][0]) == {"value", "low", "high"}
    written = (out / "report.html").read_text()
    assert "<svg" in written and "AlignCLIP" in written and "Unseen both" in written


def test_a_sweep_is_all_of_its_points(six, tmp_path, capsys):
    points = {"points": {run.name: {} for run in six}}
    (tmp_path / "sweep.json").write_text(json.dumps(points))
    given = [f"--workdir={run}" for run in six]
    assert main(["evaluate", "--compare", *given]) == 0
    printed = capsys.readouterr().out
    assert main(["evaluate", "--compare", f"--workdir={tmp_path}"]) == 0
    assert capsys.readouterr().out == printed


def test_the_page_fits_a_phone_and_escapes_names(evaluated, visit, tmp_path):
    runs = [
        evaluated("x", "<script>alert(1)</script>", 0, 0.3),
        evaluated("y", "clip", 0, 0.5),
    ]
    page.compare(runs, tmp_path / "out")
    for width in (360, 1200):
        seen = visit(tmp_path / "out" / "report.html", width)
        assert seen.evaluate("document.documentElement.scrollWidth") <= width
    assert seen.locator("h1").inner_text() == "<script>alert(1)</script>, CLIP"


def test_methods_of_one_name_are_called_by_what_differs(evaluated):
    runs = [
        evaluated("x", "clip", 0, 0.3, optimizer={"peak_lr": 0.001, "b1": 0.9}),
        evaluated("y", "clip", 0, 0.3, optimizer={"peak_lr": 0.01, "b1": 0.9}),
        evaluated("z", "alignclip", 0, 0.3),
    ]
    found = methods.methods(methods.read(runs))
    assert [one.label for one in found] == [
        "CLIP (optimizer.peak_lr=0.001)",
        "CLIP (optimizer.peak_lr=0.01)",
        "AlignCLIP",
    ]


def test_what_is_measured_of_some_seeds_only_has_no_mean(six):
    path = six[2] / "evaluation.json"
    found = json.loads(path.read_text())
    del found["splits"][SPLIT]["mine"]["shiny"]
    path.write_text(json.dumps(found))
    rows = table.rows(methods.methods(methods.read(six)), SPLIT)
    (row,) = (row for row in rows if row.name == "shiny")
    assert row.reached[0] is None and row.reached[1].mean == 4.25
    assert row.differences == (None,)


def test_runs_that_were_evaluated_differently_are_told(six):
    def refused(change, words):
        path = six[1] / "evaluation.json"
        kept = path.read_text()
        found = json.loads(kept)
        change(found)
        path.write_text(json.dumps(found))
        with pytest.raises(AligngapError) as caught:
            page.compare(six[:2], None)
        assert words in str(caught.value) and "\n" not in str(caught.value)
        path.write_text(kept)

    refused(lambda x: x["splits"].pop(SPLIT), "were evaluated on")
    refused(lambda x: x["evaluators"]["retrieval"].update(kinds=["a"]), "evaluators.retrieval")
    refused(lambda x: x.pop("evaluators"), "lacks 'evaluators': run `aligngap evaluate")
    refused(lambda x: x.update(step=3), "of step 120")
    arrays = dict(np.load(six[1] / "embeddings.npz"))
    arrays[f"{SPLIT}/captions"] = arrays[f"{SPLIT}/captions"][::-1]
    np.savez(six[1] / "embeddings.npz", **arrays)
    refused(lambda x: None, f"different images of {SPLIT}")


def test_what_goes_with_it(six, capsys):
    with pytest.raises(UsageError, match="at least two runs"):
        page.compare(six[:1], None)
    given = [f"--workdir={run}" for run in six[:2]]
    for arguments, words in {
        ("evaluate", *given): "more than one --workdir goes with --compare",
        ("evaluate", "--compare", given[0]): "at least two runs",
        ("evaluate", "--compare", given[0], given[0]): "comes twice",
        ("evaluate", "--compare", *given, "--step=3"): "--step goes with evaluate alone",
        ("evaluate", "--compare", *given, "--config.seed=3"): "--config.seed=3 goes with",
        ("evaluate", "--compare", given[0], "--workdir=none"): "none/config.json is missing",
    }.items():
        code = main(list(arguments))
        said = capsys.readouterr().err.strip()
        assert code in (1, 2) and words in said and len(said.splitlines()) == 1
