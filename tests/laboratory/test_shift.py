"""`aligngap gap shift`: its numbers against float64 NumPy, its held-out choice, its bad input."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from aligngap import cli
from aligngap.errors import UsageError
from aligngap.laboratory.shared import along_gap
from aligngap.laboratory.shift import experiment as shift

# 158 pictograms of concepts and a drawing style that were not trained on, embedded by quickstart's
# clip after 780 steps: `aligngap evaluate`, every second pair of test_unseen_both, in float16.
REAL = Path(__file__).parents[1] / "data" / "quickstart_clip.npz"


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def folder(tmp_path):
    """120 noisy pairs with a gap, four classes, labels."""
    random = np.random.default_rng(0)
    centres, labels = random.normal(size=(4, 8)), np.arange(120) % 4
    meaning = centres[labels] + random.normal(size=(120, 8))
    offset = np.eye(8)[0] * 2
    save = {
        "image": unit(meaning + 0.4 * random.normal(size=(120, 8)) + offset),
        "text": unit(meaning + 0.4 * random.normal(size=(120, 8)) - offset),
        "classes": unit(centres - offset),
    }
    for name, rows in save.items():
        np.save(tmp_path / f"{name}.npy", rows.astype(np.float32))
    np.save(tmp_path / "labels.npy", labels)
    return tmp_path


def run(folder, *more, text="text.npy"):
    output = folder / "out"
    arguments = [f"--image={folder}/image.npy", f"--text={folder}/{text}", f"--output={output}"]
    code = cli.main(["gap", "shift", *arguments, "--batch=20", "--step=0.25", *more])
    return code, json.loads((output / "shift.json").read_text()) if code == 0 else None


def moved(v, t, delta):
    vector = v.mean(0) - t.mean(0)
    step = 0.5 * delta * vector / np.linalg.norm(vector)
    return unit(v - step), unit(t + step)


def test_curves_against_numpy(folder):
    labels = [f"--labels={folder}/labels.npy", f"--classes={folder}/classes.npy"]
    code, record = run(folder, *labels)
    assert code == 0
    found, settings = record["results"], record["settings"]
    assert (settings["pairs"], settings["batches"], settings["seed"]) == (120, 6, 0)
    v, t, c = (np.load(folder / f"{n}.npy").astype(float) for n in ("image", "text", "classes"))
    order = np.random.default_rng(0).permutation(120).reshape(6, 20)
    deltas = found["curves"]["both"]["delta"]
    assert 0.0 in deltas and (deltas[0], deltas[-1]) == (-1, 2)
    for place, delta in enumerate(deltas):
        a, b = moved(v, t, delta)
        for name, scale in (("1/100", 100), ("1/50", 50), ("1", 1)):
            losses = []
            for rows in order:
                logits = scale * a[rows] @ b[rows].T
                ways = [np.log(np.exp(x - x.max()).sum(1)) + x.max() - np.diag(x)
                        for x in (logits, logits.T)]  # fmt: skip
                losses.append(np.mean(ways))
            got = found["loss"][name]
            assert got["mean"][place] == pytest.approx(np.mean(losses), rel=1e-4, abs=1e-4)
            assert got["std"][place] == pytest.approx(np.std(losses), rel=1e-3, abs=1e-4)
        cosines = a @ b.T
        own = np.diag(cosines)[:, None]
        to_text, to_image = ((x > own).sum(1) for x in (cosines, cosines.T))
        for name, ranks in (("text", to_text), ("image", to_image)):
            for k in (1, 5, 10):
                got = found["recall"][f"{name}_retrieval_recall@{k}"][place]
                assert got == pytest.approx((ranks < k).mean(), abs=1.01 / 120)
        a, b = moved(v, c, delta)
        right = ((a @ b.T).argmax(1) == np.arange(120) % 4).mean()
        assert found["accuracy"]["acc1"][place] == pytest.approx(right, abs=1.01 / 120)
    assert (folder / "out" / "shift.svg").read_text().count("<svg") == 1


def test_conventions_give_one_curve(folder):
    found = run(folder)[1]["results"]
    for move, curve in found["curves"].items():
        np.testing.assert_allclose(curve["gap"], curve["gap_by_lambda"], atol=1e-5)
        ratio = np.array(curve["delta"]) - np.array(curve["lambda"]) * found["gap"] * (
            2 if move == "both" else 1
        )
        np.testing.assert_allclose(ratio, 0, atol=1e-5)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """What the verb finds on real embeddings, and those in float64."""
    output = tmp_path_factory.mktemp("real")
    named = {"image": "image", "text": "text", "labels": "group_rows", "classes": "group_classes"}
    flags = [f"--{flag}={REAL}:{name}" for flag, name in named.items()]
    assert cli.main(["gap", "shift", *flags, f"--output={output}"]) == 0
    with np.load(REAL) as arrays:
        v, t = (unit(arrays[name].astype(np.float64)) for name in ("image", "text"))
        c, rows = unit(arrays["group_classes"].astype(np.float64)), arrays["group_rows"]
    return json.loads((output / "shift.json").read_text())["results"], v, t, c, rows


def signed(v, t, step, sides, vector):
    """The signed gap after images moved by −step and texts by +step, whichever of them move."""
    a, b = unit(v - step * (sides != "text")), unit(t + step * (sides != "image"))
    left = a.mean(0) - b.mean(0)
    return np.linalg.norm(left) * np.sign(left @ vector)


@pytest.mark.parametrize("move", ["both", "image", "text"])
def test_real_embeddings_by_the_paper_and_by_its_code(real, move):
    """Two formulas, each in float64 at its own numbers: δ = 2λ‖Δ‖ and δ = λ‖Δ‖ are one curve."""
    found, v, t, *_ = real
    curve, vector = found["curves"][move], v.mean(0) - t.mean(0)
    length = np.linalg.norm(vector)
    assert length == pytest.approx(found["gap"], abs=1e-6)
    for delta, amount, gap, by_lambda in zip(
        curve["delta"], curve["lambda"], curve["gap"], curve["gap_by_lambda"], strict=True
    ):
        assert delta == pytest.approx((2 if move == "both" else 1) * amount * length, abs=1e-6)
        half = 0.5 if move == "both" else 1.0
        by_code = signed(v, t, half * delta * vector / length, move, vector)
        assert gap == pytest.approx(by_code, abs=1e-5)
        assert by_lambda == pytest.approx(signed(v, t, amount * vector, move, vector), abs=1e-5)


@pytest.mark.parametrize("move", ["both", "image", "text"])
def test_real_embeddings_have_the_shape_of_the_papers_table(real, move):
    """Liang et al. 2022, section 4.2: the gap falls with δ, rises by less than it falls, and
    closes at about δ = ‖Δ‖; to first order it changes by `slope`."""
    found, v, t, *_ = real
    curve, vector = found["curves"][move], v.mean(0) - t.mean(0)
    gaps = dict(zip(np.round(curve["delta"], 6), curve["gap"], strict=True))
    assert (np.diff(curve["gap"]) < 0).all()
    assert gaps[0.0] == pytest.approx(found["gap"], abs=1e-6)
    for delta in (0.25, 0.5):
        assert 0 < gaps[-delta] - gaps[0.0] < gaps[0.0] - gaps[delta]
    assert curve["closes_at"] == pytest.approx(found["gap"], rel=0.1)
    step = 1e-4 * vector / np.linalg.norm(vector) * (0.5 if move == "both" else 1.0)
    ends = (signed(v, t, way * step, move, vector) for way in (1, -1))
    assert curve["slope"] == pytest.approx(-np.subtract(*list(ends)[::-1]) / 2e-4, abs=1e-5)
    assert -1 <= curve["slope"] < 0


def test_both_sides_open_real_embeddings_wider_than_one(real):
    found, *_ = real
    at = {move: curve["gap"][0] for move, curve in found["curves"].items()}  # δ = −1
    assert at["both"] > max(at["image"], at["text"])


def test_zero_shot_of_real_embeddings(real):
    found, v, _, c, rows = real
    right = ((v @ c.T).argmax(1) == rows).mean()
    place = int(np.abs(found["curves"]["both"]["delta"]).argmin())
    assert found["accuracy"]["acc1"][place] == pytest.approx(right, abs=1.01 / len(rows))
    best = found["best_for_zero_shot"]
    assert best["chosen_on"] + best["reported_on"] == len(rows)
    assert best["change"]["low"] <= best["change"]["value"] <= best["change"]["high"]


def test_where_the_grid_does_not_close_the_gap():
    v, t = np.eye(4)[[0, 1]], np.eye(4)[[2, 3]]
    assert along_gap.curve(v, t, np.array([-0.5, 0, 0.5]), "both")["closes_at"] is None
    # ±√½ apart: (1 − δ/2·√½ …) meet where each has moved by half of ‖Δ‖ = 1.
    assert along_gap.curve(v, t, np.array([0, 0.5, 1.5]), "both")["closes_at"] == pytest.approx(1)


def test_the_finest_grid():
    given = argparse.Namespace(lowest=-1.0, highest=2.0, step=3 / 9_999)
    with pytest.raises(UsageError, match="at most 10,000 points"):
        along_gap.grid(argparse.Namespace(**vars(given) | {"step": 3 / 10_000}))
    deltas = along_gap.grid(given)
    assert len(deltas) == 10_000 and 0.0 in deltas


def test_copies_of_a_caption_are_one_candidate(folder):
    """Every caption is there for two images: the second place is not its own copy's."""
    text = np.load(folder / "text.npy")
    text[1::2] = text[::2]
    np.save(folder / "twice.npy", text)
    found = run(folder, text="twice.npy")[1]["results"]
    v, place = (
        np.load(folder / "image.npy").astype(float),
        found["curves"]["both"]["delta"].index(0),
    )
    scores = v @ text[::2].astype(float).T
    ranks = (scores > scores[np.arange(120), np.arange(120) // 2][:, None]).sum(1)
    for k in (1, 5, 10):
        got = found["recall"][f"text_retrieval_recall@{k}"][place]
        assert got == pytest.approx((ranks < k).mean(), abs=1.01 / 120)


def test_the_best_shift_never_saw_the_half_that_it_is_reported_on():
    """The other half is replaced by noise: δ and the vector stay, the report changes."""
    random = np.random.default_rng(1)
    v, t = (unit(random.normal(size=(40, 6)) + np.eye(6)[0] * s) for s in (1, -1))
    same, deltas = np.arange(40), np.linspace(-1, 2, 13)

    def best(v, t):
        def task(rows):
            return shift._retrieval(v, t, same, rows)

        return shift._held_out(task, same, deltas, "both", seed=3)

    first = best(v, t)
    chosen = np.isin(same, np.random.default_rng(3).permutation(40)[:20])
    v[~chosen] = unit(random.normal(size=(20, 6)))
    second = best(v, t)
    assert first["delta"] == second["delta"]
    assert first["score_where_chosen"] == second["score_where_chosen"]
    assert first["unshifted"] != second["unshifted"]
    assert (first["chosen_on"], first["reported_on"]) == (20, 20)


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--lowest=1"], 2, "--lowest=1"),
        (["--step=0"], 2, "--step=0"),
        (["--step=1e-15"], 2, "--step=1e-15: expected"),
        (["--step=nan"], 2, "--step=nan"),
        (["--lowest=-inf", "--step=inf"], 2, "--lowest=-inf"),
        (["--batch=1"], 2, "--batch=1"),
        (["--labels=x.npy"], 2, "--classes"),
        (["--batch=500"], 1, "--batch=120"),
        (["--labels=none.npy", "--classes={}/classes.npy"], 1, "none.npy"),
        (["--labels={}/labels.txt", "--classes={}/classes.npy"], 1, "no row"),
        (["--labels={}/short.txt", "--classes={}/classes.npy"], 1, "2 labels for 120 images"),
        (["--labels={}/words.txt", "--classes={}/classes.npy"], 1, "'cat' is no row"),
    ],
)
def test_bad_input_is_one_line(folder, capsys, flags, code, words):
    (folder / "labels.txt").write_text("\n".join(["9"] * 120))
    (folder / "words.txt").write_text("\n".join(["cat"] * 120))
    (folder / "short.txt").write_text("0\n1\n")
    got, _ = run(folder, *[flag.format(folder) for flag in flags])
    error = capsys.readouterr().err
    assert got == code and words in error and error.count("\n") == 1
    assert not (folder / "out").exists()


def test_a_gap_of_zero_has_no_direction(folder, capsys):
    assert run(folder, text="image.npy")[0] == 1
    assert "no direction" in capsys.readouterr().err
