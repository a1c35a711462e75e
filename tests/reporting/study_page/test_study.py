"""`aligngap study` of planted runs: what it writes, its verdicts, its bad input."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from aligngap import cli
from aligngap import config as configs
from aligngap.evaluation.gap import one_image_a_group
from aligngap.gap.intervals import intervals
from aligngap.intervals import Interval
from aligngap.reporting.compare_page import methods
from aligngap.reporting.study_page import (
    checks,
    claims,
    drawing,
    page,
    published,
    rates,
    records,
    runs,
    verdicts,
)
from aligngap.reporting.study_page.measured import Measured

SPLITS = claims.HELD_OUT
RECALL = {"clip": 0.3, "alignclip": 0.3, "cua_tied": 0.8}
GAPS = {"clip": 0.9, "alignclip": 0.5, "cua_tied": 0.1}
ITEMS, WIDTH = 60, 8


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def plant(make_run, folder, method, seed, **fields):
    """A run whose gap and recall are those of its method, a little apart from seed to seed."""
    workdir = make_run(folder / f"{method}-{seed}", method, seed=seed)
    config = json.loads((workdir / "config.json").read_text())
    config |= {"optimizer": {"peak_lr": 0.002}, "data": {"data_dir": "/somebody"}} | fields
    (workdir / "config.json").write_text(json.dumps(config))
    (workdir / "commits.txt").write_text("abc\nabc\n")
    evaluation = json.loads((workdir / "evaluation.json").read_text())
    evaluation["evaluators"] = {n: {"type": n} for n in ("gap", "retrieval", "search", "zero_shot")}
    evaluation["evaluators"]["mine"] = {"type": "mine.Mine"}
    evaluation["versions"]["commit"] = "def"
    arrays = dict(np.load(workdir / "embeddings.npz"))
    for number, split in enumerate(SPLITS):
        found = evaluation["splits"][split]
        rows = _rows(method, seed, number)
        arrays |= {f"{split}/{name}": x for name, x in rows.items()}
        own = one_image_a_group(np.arange(ITEMS))
        pair = rows["trained/image"][own], rows["trained/pair_text"][own]
        found["gap"] = {name: x.as_json() for name, x in intervals(*pair).items()}
        random = np.random.default_rng([seed, number])
        for key, leaf in found["retrieval"].items():
            items = (random.random(ITEMS) < RECALL[method]).astype(np.float32)
            arrays[f"{split}/scores/retrieval/{key}"] = items
            arrays[f"{split}/clusters/retrieval/{key}"] = np.arange(ITEMS)
            leaf["value"] = float(items.mean())
    np.savez(workdir / "embeddings.npz", **arrays)
    (workdir / "evaluation.json").write_text(json.dumps(evaluation))
    return workdir


def _rows(method, seed, split):
    meaning = np.random.default_rng(split).normal(size=(ITEMS, WIDTH))
    noise = np.random.default_rng([seed, split]).normal(size=(2, ITEMS, WIDTH))
    apart = GAPS[method] * np.eye(WIDTH)[0]
    image, text = (unit(meaning + 0.3 * noise[i] + side * apart) for i, side in ((0, 2), (1, -2)))
    place = np.arange(ITEMS)
    return {
        "trained/image": image,
        "trained/pair_text": text,
        "image_caption": place,
        "caption_group": place,
        "captions": np.array([f"thing {n}" for n in place]),
    }


@pytest.fixture(scope="module")
def sweep(make_run, tmp_path_factory):
    """Three seeds of CLIP and tied CUAXU, one of AlignCLIP, and one run that is not evaluated."""
    folder = tmp_path_factory.mktemp("sweep")
    made = [("cua_tied", s) for s in range(3)] + [("clip", s) for s in range(3)]
    names = [plant(make_run, folder, *each).name for each in [*made, ("alignclip", 0)]]
    points = {name: {} for name in [*names, "alignclip-1"]}
    (folder / "sweep.json").write_text(json.dumps({"points": points}))
    return folder


@pytest.fixture(autouse=True, scope="module")
def short_flight():
    """Free points fly for a moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "PAIRS", 128)
        patch.setattr(checks, "EPOCHS", 2)
        yield


@pytest.fixture(scope="module")
def written(sweep):
    """The folder that the command has written."""
    output = sweep / "out"
    assert cli.main(["study", f"--workdir={sweep}", f"--output={output}"]) == 0
    return output


@pytest.fixture(scope="module")
def measured(written):
    """Of what that folder keeps."""
    return Measured(runs.gather([], written, page.wanted()))


def test_results_have_an_object_a_run(sweep, written):
    found = json.loads((written / "results.json").read_text())
    assert [(x["method"], x["seed"]) for x in found] == [
        *(("clip", seed) for seed in range(3)),
        ("alignclip", 0),
        *(("cua_tied", seed) for seed in range(3)),
    ]
    evaluation = json.loads((sweep / "clip-1" / "evaluation.json").read_text())
    for split in SPLITS:
        own = evaluation["splits"][split]
        measures = found[1]["measures"][split]
        assert measures["gap"] == {k: round(x["value"], 6) for k, x in own["gap"].items()}
        assert measures["zero_shot"]["group/acc1"] == 0.431
        assert measures["mine"] == {"shiny": 4.25, "of_ours/dull": 7.125}
    assert found[0]["commit"] == {"training": ["abc"], "evaluation": "def"}
    assert found[0]["config"]["optimizer.peak_lr"] == 0.002
    assert "/somebody" not in (written / "results.json").read_text()


def test_the_page_says_what_there_is_and_what_not(sweep, written):
    page = (written / "README.md").read_text()
    assert page.startswith("# The study") and "Runs: 3 of CLIP, tied CUA; 1 of AlignCLIP. " in page
    assert "These runs have learning rates of 0.002;" in page
    assert "Not here yet: SharedCLIP" in page
    assert (written / "gap_against_quality.png").read_bytes().startswith(b"\x89PNG")
    values = [
        json.loads((sweep / f"clip-{s}" / "evaluation.json").read_text())["splits"][SPLITS[0]]
        for s in range(3)
    ]
    gaps = [x["gap"]["centroid_distance"]["value"] for x in values]
    cell = f"{np.mean(gaps):.3f} ± {np.std(gaps, ddof=1):.3f}"
    assert f"| distance of the centroids | {cell} |" in page
    assert "| CUA, paper, D 64 | 0.65 | 0.069 | −3.60 / −3.62 / 0.45 |" in page
    assert all(len({row.count("|") for row in each}) == 1 for each in _tables(page))


def test_rates_stand_in_the_order_of_the_other_tables(written, tmp_path):
    output = shutil.copytree(written, tmp_path / "study")
    found = [rates.Reached(name, 0.001, 0, 0.1)._asdict() for name in ("alignclip", "clip")]
    (output / "rates.json").write_text(json.dumps(found))
    page.build([], [], output)
    text = (output / "README.md").read_text()
    assert text.index("| CLIP | 0.1000 |") < text.index("| AlignCLIP | 0.1000 |")


def _tables(page):
    blocks = (block.splitlines() for block in page.split("\n\n"))
    return [block for block in blocks if block[0].startswith("|")]


def test_planted_differences_are_confirmed_and_too_few_runs_are_not_judged(measured):
    tried = [
        claims.Claim("", "a", "", "cua_tied", "clip", claims.GAP, higher=False),
        claims.Claim("", "b", "", "cua_tied", "clip", claims.RETRIEVAL, higher=True),
        claims.Claim("", "c", "", "clip", "cua_tied", claims.TO_TEXT, higher=True),
        claims.Claim("", "d", "", "cua_tied", "clip", claims.ZERO_SHOT, higher=True),
        claims.Claim("", "e", "", "alignclip", "clip", claims.GAP, higher=False),
        claims.Claim("", "f", "", "cua", "clip", claims.GAP, higher=False),
    ]
    found, comparisons = verdicts.judge(tried, measured)
    assert [x.verdict for x in found] == [
        *(verdicts.CONFIRMED, verdicts.CONFIRMED, verdicts.NOT_CONFIRMED, verdicts.UNDECIDED),
        *(verdicts.OPEN, verdicts.OPEN),
    ]
    assert comparisons == 12 and [x.items for x in found[:4]] == [True, True, True, False]
    for split in SPLITS:
        values = [measured.values(m, split, claims.RETRIEVAL) for m in ("cua_tied", "clip")]
        own = found[1].found[split]
        assert own.value == pytest.approx(values[0].mean() - values[1].mean())
        assert own.low < own.value < own.high


def test_draws_of_a_gap_lie_about_its_value(measured):
    for names in (claims.GAP, claims.SEPARABLE, claims.NEIGHBOURS, claims.ALIGNMENT):
        one = measured.runs("clip", SPLITS[1], names)
        spread = one.drawn.std(axis=1)
        assert np.all(np.abs(one.drawn.mean(axis=1) - one.values) <= spread + 1e-9)


@pytest.mark.parametrize(
    ("ends", "higher", "margin", "wanted"),
    [
        ([(0.1, 0.3), (0.01, 0.2)], True, 0.0, verdicts.CONFIRMED),
        ([(0.1, 0.3), (-0.01, 0.2)], True, 0.0, verdicts.UNDECIDED),
        ([(0.1, 0.3), (-0.01, 0.2)], True, 0.02, verdicts.CONFIRMED),
        ([(0.1, 0.3), (-0.2, -0.01)], True, 0.0, verdicts.NOT_CONFIRMED),
        ([(0.1, 0.3), (-0.2, -0.01)], True, 0.02, verdicts.UNDECIDED),
        ([(-0.3, -0.1)], False, 0.0, verdicts.CONFIRMED),
        ([(-0.3, 0.01)], False, 0.02, verdicts.CONFIRMED),
        ([(0.03, 0.1)], False, 0.02, verdicts.NOT_CONFIRMED),
        ([], True, 0.0, verdicts.OPEN),
    ],
)
def test_verdicts(ends, higher, margin, wanted):
    claim = claims.Claim("", "", "", "a", "b", claims.GAP, higher, margin)
    found = [Interval((low + high) / 2, low, high) for low, high in ends]
    assert verdicts.verdict(claim, found) == wanted


def test_claims_name_methods_and_measures_that_there_are():
    assert {m for each in claims.CLAIMS for m in (each.first, each.second)} <= {*runs.LABELS}
    file = Path(__file__).parents[3] / "configs" / "study" / "evaluators.py"
    entries = configs.load_evaluators(str(file))
    measures = {name for each in claims.CLAIMS for name in each.measures}
    assert {name.partition("/")[0] for name in measures} <= {*entries}
    assert len({(c.first, c.second, c.measures) for c in claims.CLAIMS}) == len(claims.CLAIMS)


def test_published_shifts_follow_from_the_published_gap():
    """One row gives the height of the images; the other twelve are predicted."""
    found = {each.what: each for each in checks.shifted()}
    assert len(found) == sum(map(len, published.SHIFTED.values()))
    for each in found.values():
        assert float(each.ours.split()[0]) == pytest.approx(float(each.theirs), abs=0.008)


def test_kept_draws_are_those_of_the_items_to_a_sixteenth_of_their_spread(sweep, written):
    kept = {run.name: run for run in records.load(written)}
    for evaluated in methods.read([sweep / "clip-2", sweep / "cua_tied-0"]):
        run = kept[f"{evaluated.config['name']}-seed{evaluated.config['seed']}"]
        for split, measures in page.wanted().drawn.items():
            if split not in SPLITS:
                continue
            for measure, moved in drawing.moved(evaluated, split, measures).items():
                apart = run.drawn(split, measure) - run.value(split, measure) - moved
                assert np.abs(apart).max() <= moved.std() / 16 * (1 + 1e-6), measure


def test_a_study_goes_on_where_its_runs_are_gone(sweep, written, tmp_path):
    """Some runs, then the others on another machine: the page of all of them, to the letter."""
    output, first, second = (tmp_path / name for name in ("out", "first", "second"))
    for folder in (first, second):
        folder.mkdir()
    own = json.loads((sweep / "sweep.json").read_text())["points"]
    for folder, names in ((first, [*own][:4]), (second, [*own][3:7])):
        for name in names:
            shutil.copytree(sweep / name, folder / name)
        (folder / "sweep.json").write_text(json.dumps({"points": {name: {} for name in names}}))
        assert cli.main(["study", f"--workdir={folder}", f"--output={output}"]) == 0
        shutil.rmtree(folder)
    assert cli.main(["study", f"--output={output}"]) == 0
    files = {path.relative_to(written) for path in written.rglob("*") if path.is_file()}
    assert len(files) == 3 + 7
    assert {path.relative_to(output) for path in output.rglob("*") if path.is_file()} == files
    for file in files:
        assert (output / file).read_bytes() == (written / file).read_bytes(), file


def test_a_run_that_is_evaluated_again_takes_its_own_place(sweep, written, tmp_path):
    """And a page of `study why` beside the study's is linked from then on."""
    output, again = tmp_path / "out", tmp_path / "again"
    shutil.copytree(written, output)
    (output / "why").mkdir()
    (output / page.WHY).touch()
    shutil.copytree(sweep / "clip-1", again)
    evaluation = json.loads((again / "evaluation.json").read_text())
    evaluation["splits"][SPLITS[0]]["gap"]["centroid_distance"]["value"] = 0.75
    (again / "evaluation.json").write_text(json.dumps(evaluation))
    assert cli.main(["study", f"--workdir={again}", f"--output={output}"]) == 0
    found = runs.gather([], output, page.wanted()).methods["clip"]
    gaps = [run.value(SPLITS[0], *claims.GAP) for run in found]
    assert [run.seed for run in found] == [0, 1, 2] and gaps[1] == 0.75 and gaps[0] != 0.75
    link = f"({page.WHY})"
    assert link in (output / "README.md").read_text()
    assert link not in (written / "README.md").read_text()


def test_runs_that_are_no_seeds_are_told(make_run, sweep, written, tmp_path, capsys):
    plant(make_run, tmp_path, "clip", 7, optimizer={"peak_lr": 0.004})
    plant(make_run, tmp_path, "clip", 8)
    other = json.loads((tmp_path / "clip-8" / "evaluation.json").read_text())
    other["evaluators"]["gap"]["sample"] = 7
    (tmp_path / "clip-8" / "evaluation.json").write_text(json.dumps(other))
    cases = [
        (
            1,
            [tmp_path / "clip-7", sweep / "clip-0"],
            "clip-seed0 and clip-seed7 differ in more than",
        ),
        (1, [sweep / "clip-0", tmp_path / "again"], "clip has two runs of seed 0"),
        (2, [sweep / "clip-0", sweep / "clip-0"], "clip-0 comes twice"),
        (1, [sweep / "alignclip-1"], "config.json is missing"),
        (1, [], "out keeps no run: give --workdir"),
    ]
    shutil.copytree(sweep / "clip-0", tmp_path / "again")
    for code, folders, words in cases:
        given = [f"--workdir={folder}" for folder in folders]
        assert cli.main(["study", *given, f"--output={tmp_path / 'out'}"]) == code
        said = capsys.readouterr().err
        assert words in said.splitlines()[-1] and "Traceback" not in said, said
    assert not (tmp_path / "out").exists()
    shutil.copytree(written, tmp_path / "out")
    before = (tmp_path / "out" / "results.json").read_bytes()
    given = f"--workdir={tmp_path / 'clip-8'}", f"--output={tmp_path / 'out'}"
    assert cli.main(["study", *given]) == 1
    assert "were evaluated differently (evaluators): evaluate all" in capsys.readouterr().err
    assert (tmp_path / "out" / "results.json").read_bytes() == before


def test_what_is_damaged_is_told(written, tmp_path, capsys):
    def of_rates(**changes):
        run = {"method": "clip", "rate": 0.1, "seed": 0, "value": 0.5}
        return json.dumps([run | changes]).encode()

    def of_results(*path):
        """With the last one in the place that the others lead to."""
        runs_ = json.loads((written / "results.json").read_text())
        held = runs_[0]
        for name in path[:-2]:
            held = held[name]
        held[path[-2]] = path[-1]
        return json.dumps(runs_).encode()

    def of_draws(**changes):
        arrays = dict(np.load(written / "draws" / "clip-seed1.npz")) | changes
        packed = io.BytesIO()
        np.savez(packed, **{name: x for name, x in arrays.items() if x is not None})
        return packed.getvalue()

    output = tmp_path / "out"
    for name, content, words in (
        ("draws/clip-seed1.npz", b"PK\x03\x04 and no more", "clip-seed1.npz cannot be read"),
        ("results.json", b"[{", "results.json cannot be read"),
        ("rates.json", b"[3]", "rates.json cannot be read"),
        ("rates.json", of_rates(rate="1"), 'rates.json cannot be read (/0/rate is "1")'),
        ("rates.json", of_rates(value=None), "rates.json cannot be read (/0/value is null)"),
        ("results.json", of_results("measures", SPLITS[0], "gap", None), "/gap is null)"),
        ("results.json", of_results("splits", SPLITS[0], []), f"/0/splits/{SPLITS[0]} is [])"),
        ("results.json", of_results("config", "optimizer.peak_lr", True), "peak_lr is true)"),
        ("results.json", of_results("logit_scale", 10**400), "(/0/logit_scale is 1000"),
        ("results.json", of_results("method", "../clip"), "'../clip' is no name of a method"),
        ("results.json", json.dumps([{"method": "clip"}]).encode(), "json lacks 'seed'"),
        ("draws/clip-seed1.npz", of_draws(step=None), "clip-seed1.npz lacks 'step'"),
        ("draws/clip-seed1.npz", of_draws(moved=np.ones(3)), "(moved is float64 [3], expected ["),
        ("draws/clip-seed1.npz", of_draws(step=np.full(2, np.inf)), "step is float64 [2], exp"),
    ):
        shutil.copytree(written, output)
        (output / name).write_bytes(content)
        assert cli.main(["study", f"--output={output}"]) == 1
        said = capsys.readouterr().err
        assert words in said and len(said.strip().splitlines()) == 1, said
        assert (output / name).read_bytes() == content
        shutil.rmtree(output)
