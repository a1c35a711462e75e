"""`aligngap gap methods`: what it says of planted rows, against NumPy; bad input."""

import json

import numpy as np
import pytest

from aligngap import cli
from aligngap.gap.transforms.methods import METHODS
from aligngap.intervals import resampled_counts
from aligngap.laboratory.methods import curves, rows
from aligngap.laboratory.methods.curves import BEFORE, Found, Way
from aligngap.laboratory.methods.standing import MEAN, _floor, standings
from aligngap.tasks import search
from aligngap.tasks.mixed_pool import Right, chunks_of

ITEMS, WIDTH = 60, 8


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def planted(seed, split):
    """Rows of a run: what items mean is the same in all runs, each has noise of its own."""
    random = np.random.default_rng(seed)
    meaning = np.random.default_rng(split).normal(size=(ITEMS, WIDTH))
    rows = {}
    for place, name in enumerate(("image", "text", "query")):
        offset = 2.0 * np.eye(WIDTH)[min(place, 1)]
        noise = random.normal(size=(ITEMS, WIDTH))
        rows[f"search/{name}"] = unit(meaning + 0.7 * noise + offset)
    return rows


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of a model, evaluated on three splits."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        arrays = {
            f"{split}/{name}": rows
            for number, split in enumerate(("test", "fit", "choose"))
            for name, rows in planted(10 * seed + number, number).items()
        }
        (folder / f"clip-{seed}").mkdir()
        np.savez(folder / f"clip-{seed}" / "embeddings.npz", **arrays)
    return folder


@pytest.fixture(autouse=True, scope="module")
def few():
    """Fewer settings to choose from."""
    with pytest.MonkeyPatch.context() as patch:
        for name, values in {"shrinkage": (0.01, 0.5), "components": (1, 4, 8), "eigenvectors":
                             (8, 32)}.items():  # fmt: skip
            patch.setitem(curves.TRIED, name, values)
        yield


@pytest.fixture(scope="module")
def found(runs, few):
    """methods.json of them, and the folder that it is in."""
    output = runs / "out"
    given = f"--model=CLIP={runs}/clip-*:test,fit,choose"
    assert cli.main(["gap", "methods", given, f"--output={output}"]) == 0
    return json.loads((output / "methods.json").read_text())["results"]["CLIP"], output


def test_values_are_those_of_search_on_the_judged_half(runs, found):
    model, output = found
    curves = []
    for seed in (0, 1):
        clouds = [rows.astype(float) for rows in planted(10 * seed, 0).values()]
        names = np.random.default_rng(0).permutation(np.arange(ITEMS))[: ITEMS // 2]
        fitted = np.isin(np.arange(ITEMS), names)
        image, text, query = (
            unit(x[~fitted] - x[fitted].mean(axis=0)).astype(float) for x in clouds
        )
        curves.append(search.ndcg(chunks_of(image, text), query, Right.own(ITEMS // 2)))
    wanted = np.mean(curves, axis=(0, 1))
    mean = model["methods"]["mean"]
    assert [x["value"] for x in mean["curve"]] == pytest.approx(wanted, abs=1e-6)
    assert mean["mean"]["value"] == pytest.approx(wanted.mean(), abs=1e-6)
    assert mean["floor"]["value"] == pytest.approx(wanted.min() / min(wanted[0], wanted[-1]))
    before = model["methods"]["untransformed"]
    assert mean["gain"]["value"] == pytest.approx(mean["mean"]["value"] - before["mean"]["value"])
    assert mean["gain"]["low"] > 0 and mean["over_mean"]["low"] == mean["over_mean"]["high"] == 0
    assert (model["pairs_fitted"], model["items_judged"]) == (30, 30)
    table = (output / "methods.md").read_text()
    ends = " / ".join(f"{mean['curve'][place]['value']:.3f}" for place in (0, 5, 10))
    assert f"| mean | {ends}; {mean['floor']['value']:.2f} |" in table
    assert "| mean | +0.0000 [+0.0000, +0.0000] [+0.0000, +0.0000] |" in table
    assert "share of items that stand as image" in (output / "methods.svg").read_text()


def test_items_stand_in_one_order_for_all_seeds(runs):
    """However their rows would sort."""
    model = rows.read(f"CLIP={runs}/clip-*:test,fit,choose", 3000, 0)
    for each in model.seeds:
        items = each.judged.judge.item
        assert list(items) == sorted(items) and len(each.judged.given.fitted) <= ITEMS // 2
        np.testing.assert_array_equal(items, model.seeds[0].judged.judge.item)
        own = planted(10 * int(each.folder.name[-1]), 0)["search/image"][each.judged.given.judged]
        np.testing.assert_allclose(each.judged.given.before().image, own, atol=1e-7)


def test_every_method_is_judged_plain_and_calibrated_or_left_out(found):
    model, _ = found
    for method in ("untransformed", *METHODS):
        if method in model["left_out"]:
            assert method not in model["methods"]
            continue
        for name in (method, f"{method} + calibration"):
            each = model["methods"][name]
            assert each["mean"]["low"] <= each["mean"]["value"] <= each["mean"]["high"]
            assert each["chosen_by"] > 0
    assert model["methods"]["mean"]["options"] == {}
    assert model["methods"]["whiten"]["options"]["shrinkage"] in (0.01, 0.5)
    assert model["methods"]["spectral"]["options"] == {"eigenvectors": 8}  # 30 items have no 32.


def test_options_are_not_chosen_by_what_is_judged(runs, found, tmp_path):
    """Other rows of the split that is looked at once leave all choices as they were."""
    for seed in (0, 1):
        arrays = dict(np.load(runs / f"clip-{seed}" / "embeddings.npz"))
        arrays |= {f"test/{name}": rows for name, rows in planted(50 + seed, 7).items()}
        (tmp_path / f"clip-{seed}").mkdir()
        np.savez(tmp_path / f"clip-{seed}" / "embeddings.npz", **arrays)
    given = f"--model=CLIP={tmp_path}/clip-*:test,fit,choose"
    assert cli.main(["gap", "methods", given, f"--output={tmp_path / 'out'}"]) == 0
    others = json.loads((tmp_path / "out" / "methods.json").read_text())["results"]["CLIP"]
    for name, each in found[0]["methods"].items():
        assert others["methods"][name]["options"] == each["options"], name
        assert others["methods"][name]["chosen_by"] == each["chosen_by"], name


def test_gains_match_loops_over_draws_of_seeds_and_items():
    """Each alone, and all together; the one that is the same in every draw moves no other."""
    random, (runs, items) = np.random.default_rng(0), (3, 14)
    of_items = random.uniform(0.2, 0.6, (1, items, 1))
    scores = {
        Way(name, False): of_items + random.normal(shift, 0.1, (runs, items, len(search.GRID)))
        for name, shift in ((BEFORE, -0.05), ("mean", 0), ("ridge", 0.08), ("coral", 0.01))
    }
    scores[Way("whiten", True)] = scores[MEAN] + 0.25
    found, critical = standings({way: Found({}, None, x) for way, x in scores.items()}, seed=5)
    counts = (np.concatenate([*resampled_counts(n, stream, 2000)])
              for n, stream in ((runs, 10), (items, 11)))  # fmt: skip
    drawn = [np.outer(*each) / (runs * items) for each in zip(*counts, strict=True)]
    apart = {way: (x - scores[MEAN]).mean(axis=2) for way, x in scores.items()}
    draws = {way: np.array([(x * weights).sum() for weights in drawn]) for way, x in apart.items()}
    errors = {way: x.std() for way, x in draws.items()}
    moving = [Way(name, False) for name in (BEFORE, "ridge", "coral")]
    largest = [np.abs(draws[way] - apart[way].mean()) / errors[way] for way in moving]
    wanted = np.quantile(np.max(largest, axis=0), 0.95)
    assert critical == pytest.approx(wanted, rel=1e-9)
    for way in moving:
        alone, together = found[way].over_mean, found[way].over_mean_together
        assert alone.value == together.value == pytest.approx(apart[way].mean(), abs=1e-12)
        assert (alone.low, alone.high) == pytest.approx(np.quantile(draws[way], (0.025, 0.975)))
        reach = wanted * errors[way]
        ends = alone.value - reach, alone.value + reach
        assert (together.low, together.high) == pytest.approx(ends, abs=1e-12)
    for way, value in ((MEAN, 0.0), (Way("whiten", True), 0.25)):
        one = found[way].over_mean_together
        assert (one.value, one.low, one.high) == pytest.approx((value, value, value))


def test_both_intervals_are_written_and_bold_is_what_holds_among_all(found):
    model, output = found
    assert model["comparisons"] == len(model["methods"]) - 1
    assert 1.96 < model["errors_to_each_end"] < 4
    rows = (output / "methods.md").read_text().partition("What is gained")[2].splitlines()
    rows = {row.split(" | ")[0].strip("| "): row for row in rows if row.startswith("| ")}
    bold = set()
    for name, values in model["methods"].items():
        alone, together = values["over_mean"], values["over_mean_together"]
        assert together["value"] == alone["value"]
        assert together["low"] <= alone["value"] <= together["high"]
        said = " ".join(f"[{x['low']:+.4f}, {x['high']:+.4f}]" for x in (alone, together))
        assert said.replace("-", "−").replace("−0.0000", "+0.0000") in rows[name]
        excluded = together["low"] > 0 or together["high"] < 0
        assert ("**" in rows[name]) == excluded
        bold |= {name} if excluded else set()
    assert "untransformed" in bold and len(bold) < len(rows) - 1


def test_the_least_is_a_share_of_the_lower_end():
    curves = np.array([[0.4, 0.1, 0.2], [0.2, 0.3, 0.4], [0.0, 0.1, 0.2]])
    np.testing.assert_allclose(_floor(curves), [0.5, 1.0, 1.0])


def test_bad_input_is_one_line(runs, tmp_path, capsys):
    other = dict(np.load(runs / "clip-0" / "embeddings.npz"))
    (tmp_path / "clip-0").mkdir()
    (tmp_path / "clip-1").mkdir()
    (tmp_path / "clip-2").mkdir()
    np.savez(tmp_path / "clip-0" / "embeddings.npz", **other)
    same = {**other, "fit/search/query": other["fit/search/query"][:1].repeat(ITEMS, axis=0)}
    (tmp_path / "same").mkdir()
    np.savez(tmp_path / "same" / "embeddings.npz", **same)
    less = {name: rows[:50] for name, rows in other.items()}
    np.savez(tmp_path / "clip-1" / "embeddings.npz", **less)
    cases = [
        (["--model=CLIP"], 2, "expected NAME=RUNS:SPLIT"),
        ([f"--model=CLIP={runs}/clip-*:test,fit"], 2, "expected NAME=RUNS:SPLIT"),
        ([f"--model=CLIP={runs}/none-*:test"], 2, "there is no"),
        ([f"--model=CLIP={runs}/clip-*:test"] * 2, 2, "two are called CLIP"),
        ([f"--model=CLIP={tmp_path}/clip-2:test"], 1, "run `aligngap evaluate --workdir="),
        ([f"--model=CLIP={tmp_path}/clip-[01]:test"], 1, "have other items in test"),
        ([f"--model=CLIP={runs}/clip-0:elsewhere"], 1, "elsewhere/search/image"),
        ([f"--model=CLIP={tmp_path}/same:test,fit,choose"], 1, "CLIP: nothing to compare methods"),
    ]
    for given, code, words in cases:
        assert cli.main(["gap", "methods", *given, f"--output={tmp_path / 'out'}"]) == code, given
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1, error
        assert not (tmp_path / "out").exists()
