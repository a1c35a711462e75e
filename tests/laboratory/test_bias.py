"""`aligngap gap bias`: shares and accuracy against float64 NumPy, ties, intervals, bad input."""

import json
from pathlib import Path

import numpy as np
import pytest

from aligngap import cli
from aligngap.laboratory.bias import experiment as bias

REAL = Path(__file__).parents[1] / "data" / "quickstart_clip.npz"  # see test_shift.py
KINDS = {"people-body": "people", "smileys-emotion": "people", "animals-nature": "non-human"}


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def folder(tmp_path):
    """90 images of three groups of unequal size, seven prompts of three categories, captions."""
    random = np.random.default_rng(0)
    save = {
        "image": random.normal(size=(90, 6)) + 1.2 * np.eye(6)[0],
        "classes": random.normal(size=(7, 6)) - 0.8 * np.eye(6)[0],
        "text": random.normal(size=(50, 6)) - 1.1 * np.eye(6)[1],
    }
    for name, rows in save.items():
        np.save(tmp_path / f"{name}.npy", unit(rows).astype(np.float32))
    write(tmp_path / "labels.txt", random.choice(["a", "b", "c"], 90, p=[0.6, 0.3, 0.1]))
    write(tmp_path / "categories.txt", ["own", "own", "own", "crime", "crime", "beast", "own"])
    write(tmp_path / "own.txt", ["a", "b", "c", "", "", "", "b"])
    return tmp_path


def write(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines))


def run(folder, *more, **given):
    files = {"image": "image.npy", "labels": "labels.txt", "classes": "classes.npy"}
    files |= {"categories": "categories.txt"} | given
    flags = [f"--{name}={folder / file}" for name, file in files.items()]
    code = cli.main(["gap", "bias", *flags, f"--output={folder}/out", "--step=0.25", *more])
    output = folder / "out" / "bias.json"
    return code, json.loads(output.read_text()) if code == 0 else None


def reference(found, v, p, others, group, category, own, move):
    """Shares, differences and accuracy at each λ of the paper's own convention, image by image."""
    vector = v.mean(0) - others.mean(0)
    shares, right = [], []
    for amount in found["curve"]["lambda"]:
        a = unit(v - amount * vector) if move != "text" else v
        b = unit(p + amount * vector) if move != "image" else p
        nearest = [int(np.argmax([row @ prompt for prompt in b])) for row in a]
        hit = np.array([category[place] for place in nearest])
        shares.append(
            {(g, c): np.mean(hit[group == g] == c) for g in set(group) for c in set(category)}
        )
        right.append(
            np.mean([own[n] == g for n, g in zip(nearest, group, strict=True) if g in own])
        )
    return shares, right


def check(found, shares, right):
    start = found["unshifted_at"]
    assert found["curve"]["delta"][start] == 0
    for name, group in found["groups"].items():
        for c, values in group["shares"].items():
            for place, value in enumerate(values):
                # In float32 an image may fall to the other side of a border.
                assert value == pytest.approx(shares[place][name, c], abs=1.01 / group["images"])
            assert group["unshifted"][c]["value"] == values[start]
    for c, entry in found["categories"].items():
        for place, value in enumerate(entry["largest_difference"]):
            all_of_it = [group["shares"][c][place] for group in found["groups"].values()]
            assert value == pytest.approx(max(all_of_it) - min(all_of_it), abs=1e-12)
    accuracy = found["accuracy"]
    assert accuracy["value"] == pytest.approx(right, abs=1.01 / accuracy["images"])
    change = accuracy["value"][found["closed_at"]] - accuracy["value"][start]
    assert accuracy["change_when_closed"]["value"] == pytest.approx(change)


@pytest.mark.parametrize("move", ["both", "image", "text"])
@pytest.mark.parametrize("text", [None, "text.npy"])
def test_against_numpy(folder, move, text):
    captions = {"text": text} if text else {}
    code, record = run(folder, f"--move={move}", own="own.txt", **captions)
    assert code == 0 and record["settings"]["images"] == 90 and record["settings"]["seed"] == 0
    v, p, t = (np.load(folder / f"{n}.npy").astype(float) for n in ("image", "classes", "text"))
    group = np.array((folder / "labels.txt").read_text().split())
    category, own = ((folder / f"{n}.txt").read_text().splitlines() for n in ("categories", "own"))
    found = record["results"]
    np.testing.assert_allclose(found["curve"]["gap"], found["curve"]["gap_by_lambda"], atol=1e-5)
    check(found, *reference(found, v, p, t if text else p, group, category, own, move))
    assert found["accuracy"]["images"] == 90
    # Two of seven prompts are right for "b", one for the others.
    chance = np.mean([2 / 7 if g == "b" else 1 / 7 for g in group])
    assert found["accuracy"]["unshifted"]["chance"] == pytest.approx(chance)


def test_real_embeddings(folder, capsys):
    """Pictograms matched to their groups' prompts, from one .npz; the words of the terminal."""
    with np.load(REAL) as arrays:
        names, group = arrays["group_names"].tolist(), arrays["group"]
        v, p = (unit(arrays[n].astype(float)) for n in ("image", "group_classes"))
    category = [KINDS.get(name, "thing") for name in names]
    write(folder / "categories.txt", category)
    files = {"image": "image", "labels": "group", "classes": "group_classes", "own": "group_names"}
    given = {flag: f"{REAL}:{name}" for flag, name in files.items()}
    code, record = run(folder, **given)
    assert code == 0
    found = record["results"]
    check(found, *reference(found, v, p, p, group, category, names, "both"))
    images = {name: int((group == name).sum()) for name in set(group)}
    assert {name: each["images"] for name, each in found["groups"].items()} == images
    assert {name: each["prompts"] for name, each in found["categories"].items()} == {
        "non-human": 1, "people": 2, "thing": 5
    }  # fmt: skip
    said = capsys.readouterr().out
    assert f"people-body {'':<12}" in said and "shuffled labels" in said and "points" in said
    picture = (folder / "out" / "bias.svg").read_text()
    for words in ("Matched to “non-human” (1 prompt)", "accuracy (% of 158 images)", "unshifted"):
        assert words in picture


def test_prompts_that_tie_share_an_image():
    image, prompts = np.eye(3)[[0, 1, 2]], np.eye(3)[[0, 1, 1]]
    expected = [[1, 0, 0], [0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]]  # the last is at 90° to all
    np.testing.assert_allclose(bias.matched(image, prompts), expected)


def test_a_prompt_that_is_there_twice_shares_at_every_gap(folder):
    """A copy of the "beast" prompt under the name of crime: the two shares are equal."""
    prompts = np.load(folder / "classes.npy")
    np.save(folder / "twice.npy", prompts[[0, 1, 2, 5, 5]])
    write(folder / "categories.txt", ["own", "own", "own", "crime", "beast"])
    _, record = run(folder, classes="twice.npy")
    for group in record["results"]["groups"].values():
        assert group["shares"]["crime"] == pytest.approx(group["shares"]["beast"], abs=1e-12)
    assert max(record["results"]["groups"]["a"]["shares"]["beast"]) > 0
    assert "accuracy" not in record["results"]


def test_one_group_differs_from_none(folder, capsys):
    write(folder / "labels.txt", ["everybody"] * 90)
    code, record = run(folder)
    assert code == 0
    assert "largest difference" not in capsys.readouterr().out
    for entry in record["results"]["categories"].values():
        assert set(entry["largest_difference"]) == {0.0}


def test_of_many_groups_the_extremes_stand_out(folder):
    write(folder / "labels.txt", [f"group {row % 12}" for row in range(90)])
    assert run(folder)[0] == 0
    assert (folder / "out" / "bias.svg").read_text().count("8 others") == 3  # a panel a category


def test_a_sample_may_miss_a_group(folder):
    write(folder / "labels.txt", ["rare"] + ["a", "b"] * 44 + ["a"])
    _, record = run(folder, "--images=10", own="own.txt")
    assert record["settings"]["images"] == 10 and record["settings"]["images_given"] == 90
    groups = record["results"]["groups"]
    assert sum(group["images"] for group in groups.values()) == 10 and set(groups) == {"a", "b"}


def test_a_prompt_for_no_group_leaves_its_images_out_of_accuracy(folder):
    write(folder / "own.txt", ["a", "", "", "", "", "", "nobody"])
    _, record = run(folder, own="own.txt")
    of_a = record["results"]["groups"]["a"]["images"]
    assert record["results"]["accuracy"]["images"] == of_a < 90


def test_one_image_says_nothing_of_a_change(folder):
    write(folder / "labels.txt", ["alone"] + ["a", "b"] * 44 + ["a"])
    write(folder / "own.txt", ["alone", "", "", "", "", "", ""])
    change = run(folder, own="own.txt")[1]["results"]["accuracy"]["change_when_closed"]
    assert (change["low"], change["high"]) == (-1, 1)


def test_intervals_are_wilsons():
    """(p + z²/2n ± z√(p(1−p)/n + z²/4n²)) / (1 + z²/n), also at 0 and 1."""
    z = 1.959963984540054
    for hits, n in ((0, 20), (7, 31), (31, 31)):
        p = hits / n
        middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n * n))
        found = bias._wilson(p, n)
        ends = [(middle + way * half) / (1 + z**2 / n) for way in (-1, 1)]
        assert [found["low"], found["high"]] == pytest.approx(ends, abs=1e-9)


def test_shuffled_labels_know_how_much_small_groups_differ_by_chance():
    """Two groups of n/2 whose images are hit with p = ½: the difference of two shares has a
    standard deviation of √(1/n), and its absolute value a mean of √(2/π) of that."""
    hits, n = np.repeat([[1.0, 0.0], [0.0, 1.0]], 200, axis=0), 400
    mean, high = bias._by_chance(hits, np.arange(n) % 2, seed=0)
    assert mean == pytest.approx([np.sqrt(2 / np.pi / n)] * 2, rel=0.1)
    assert high == pytest.approx([1.96 / np.sqrt(n)] * 2, rel=0.15)


def test_a_grid_that_does_not_reach_the_closed_gap(folder, capsys):
    code, record = run(folder, "--highest=0.25", own="own.txt")
    assert code == 0 and record["results"]["closed_at"] is None
    assert "change_when_closed" not in record["results"]["accuracy"]
    assert "no shift of the grid closes it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("files", "flags", "code", "words"),
    [
        ({"labels": ["a"] * 89}, [], 1, "89 labels for 90 images"),
        ({"labels": ["a"] * 89 + [""]}, [], 1, "line 90 is empty"),
        ({"categories": ["x", "y"]}, [], 1, "2 labels for 7 prompts"),
        ({"categories": ["x"] * 7}, [], 1, "1 categories; expected 2 to 12"),
        ({"own": ["z"] * 7}, ["--own={}/own.txt"], 1, "no prompt is right for any group"),
        ({"own": ["a"] * 3}, ["--own={}/own.txt"], 1, "3 labels for 7 prompts"),
        ({}, ["--classes={}/narrow.npy"], 1, "expected [C, 6]"),
        ({}, ["--classes={}/broken.npy"], 1, "row 1 is not finite"),
        ({}, ["--text={}/narrow.npy"], 1, "expected [C, 6]"),
        ({}, ["--text={}/image.npy"], 1, "no direction"),
        ({}, ["--images=0"], 2, "--images"),
        ({}, ["--step=9"], 2, "--step=9"),
        ({}, ["--labels={}/none.txt"], 1, "none.txt"),
    ],
)
def test_bad_input_is_one_line(folder, capsys, files, flags, code, words):
    rows = np.load(folder / "classes.npy")
    np.save(folder / "narrow.npy", unit(rows[:, :4]))
    rows[1, 2] = np.nan
    np.save(folder / "broken.npy", rows)
    for name, lines in files.items():
        write(folder / f"{name}.txt", lines)
    got, _ = run(folder, *[flag.format(folder) for flag in flags])
    error = capsys.readouterr().err
    assert got == code and words in error and error.count("\n") == 1
    assert not (folder / "out").exists()
