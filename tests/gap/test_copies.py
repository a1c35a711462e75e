"""Equal rows are one item: every measure against float64 NumPy over distinct items."""

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from aligngap import cli, gap
from aligngap.errors import AligngapError
from aligngap.gap import copies, files, neighbours, streaming
from aligngap.gap.copies import Items
from aligngap.gap.intervals import intervals

IMAGES = 24


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def captioned(seed=0, noise=0.5, apart=0.3, width=6):
    """(distinct images, distinct texts, image of each pair, text of each pair): five captions an
    image in no order, one of them of two images, and three pairs that are there twice."""
    random = np.random.default_rng(seed)
    meaning = random.normal(size=(IMAGES, width))
    image = np.tile(np.arange(IMAGES), 5)
    text = np.arange(5 * IMAGES)
    clouds = (
        unit(meaning + apart),
        unit(meaning[image] + noise * random.normal(size=(5 * IMAGES, width)) - apart),
    )
    image, text = np.append(image, [3, 0, 1, 2]), np.append(text, [4, 0, 1, 2])
    order = random.permutation(len(image))
    return *(x.astype(np.float32) for x in clouds), image[order], text[order]


def grouped(image, text):
    """The connected components, by merging labels until nothing changes."""
    label = np.arange(len(image))
    while True:
        before = label.copy()
        for own in (image, text):
            for item in np.unique(own):
                label[own == item] = label[own == item].min()
        if (label == before).all():
            return label


def gaussian(x, y):
    return np.exp(-2 * np.sum((x - y) ** 2))


def reference(v, t, image, text):
    """From the definitions, item by item."""
    v, t = v.astype(float), t.astype(float)
    label = grouped(image, text)
    of_image = dict(zip(image, label, strict=True))
    of_text = dict(zip(text, label, strict=True))
    pairs = sorted({(a, b) for a, b in zip(image, text, strict=True)})
    v_pairs = [(i, j) for i in of_image for j in of_image if i < j]
    t_pairs = [(i, j) for i in of_text for j in of_text if i < j]
    own = np.mean([1 - v[a] @ t[b] for a, b in pairs])
    cosines = [np.mean([x[i] @ x[j] for i, j in y]) for x, y in ((v, v_pairs), (t, t_pairs))]
    strangers = [
        gaussian(v[a], t[b]) for a in of_image for b in of_text if of_image[a] != of_text[b]
    ]
    found = {
        "centroid_distance": np.linalg.norm(v.mean(0) - t[sorted(of_text)].mean(0)),
        "alignment_score": 1 - own,
        "mean_pairwise_cosine_image": cosines[0],
        "mean_pairwise_cosine_text": cosines[1],
        "relative_modality_gap": own / (own + 1 - np.mean(cosines)),
        "uniformity_image": np.log(np.mean([gaussian(v[i], v[j]) for i, j in v_pairs])),
        "uniformity_text": np.log(np.mean([gaussian(t[i], t[j]) for i, j in t_pairs])),
        "cross_uniformity": np.log(np.mean(strangers)),
    }
    for name, x in (("image", v), ("text", t[sorted(of_text)])):
        variances = np.linalg.eigvalsh(np.cov(x, rowvar=False, bias=True))[::-1]
        p = variances / variances.sum()
        found[f"effective_rank_{name}"] = np.exp(-np.sum(p * np.log(p)))
        for k in (1, 10):
            found[f"explained_variance@{k}_{name}"] = p[:k].sum()
    shares = []
    for x, y, mine, others in ((v, t, of_image, of_text), (t, v, of_text, of_image)):
        nearest = [
            max(x[i] @ x[j] for j in mine if j != i) > max(x[i] @ y[j] for j in others)
            for i in mine
        ]
        shares.append(np.mean(nearest))
    found["same_modality_neighbours"] = np.mean(shares)
    for name, x, y, others, turn in (
        ("image_to_text", v, t, of_text, 1),
        ("text_to_image", t, v, of_image, -1),
    ):
        ranks = []
        for i, j in (pair[::turn] for pair in pairs):
            wrong = [k for k in others if others[k] != others[j]]
            ranks.append(1 + sum(x[i] @ y[k] > x[i] @ y[j] for k in wrong))
        ranks = np.array(ranks)
        found[f"paired_median_rank_{name}"] = np.median(ranks)
        found[f"paired_mean_reciprocal_rank_{name}"] = np.mean(1 / ranks)
        for k in (1, 5, 10):
            found[f"paired_recall@{k}_{name}"] = np.mean(ranks <= k)
    return found | {"linear_separability": separability(v, t, image, text, label)}


def separability(v, t, image, text, label):
    """A fifth of the groups is tested on; a guess is worth one half."""
    names = list(dict.fromkeys(label))
    order = np.random.default_rng(0).permutation(len(names))
    tested = {names[i] for i in order[round(0.8 * len(names)) :]}
    test = np.isin(label, list(tested))
    sides = []
    for part in (~test, test):
        a, b = np.unique(image[part]), np.unique(text[part])
        sides.append((np.concatenate([v[a], t[b]]), np.repeat([0, 1], [len(a), len(b)])))
    (x, y), (x_test, y_test) = sides
    weights = len(y) / 2 / np.bincount(y)[y]
    model = LogisticRegression(max_iter=1000).fit(x, y, weights)
    return balanced_accuracy_score(y_test, model.predict(x_test))


@pytest.mark.parametrize("seed", [0, 1])
def test_every_measure_is_that_over_distinct_items(seed, monkeypatch):
    v, t, image, text = captioned(seed)
    monkeypatch.setattr(neighbours, "TILE", 50)  # Copies of a row lie in several tiles,
    monkeypatch.setattr(streaming, "GROUPS", 40)  # and in several chunks.
    got, wanted = gap.summary(v[image], t[text]), reference(v, t, image, text)
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        assert got[name] == pytest.approx(value, rel=1e-5, abs=1e-5), name


def test_every_pair_five_times_changes_neither_value_nor_interval():
    """Groups of two captions an image, each pair there five times."""
    v, t, *_ = captioned()
    image, text = np.repeat(np.arange(IMAGES), 2), np.arange(2 * IMAGES)
    once = intervals(v[image], t[text])
    five = intervals(v[np.repeat(image, 5)], t[np.repeat(text, 5)])
    for name, x in once.items():
        got = five[name].value, five[name].low, five[name].high
        assert got == pytest.approx((x.value, x.low, x.high), abs=1e-6), name


def test_captions_of_one_image_are_no_five_draws():
    """Captions that hardly differ tell no more than one: the interval of a mean over pairs is as
    wide as with one caption an image, not narrower by √5."""
    v, t, *_ = captioned(noise=0)
    near = unit(np.repeat(t[:IMAGES], 5, axis=0) + 1e-4 * np.random.default_rng(0).normal(
        size=(5 * IMAGES, 6)
    ))  # fmt: skip
    one, five = intervals(v, t[:IMAGES]), intervals(np.repeat(v, 5, axis=0), near)
    for name in ("alignment_score", "uniformity_image", "cross_uniformity", "effective_rank_text"):
        widths = [x.high - x.low for x in (one[name], five[name])]
        assert widths[1] == pytest.approx(widths[0], rel=0.03), name


def test_of_a_closed_gap_the_nearest_neighbour_is_no_copy():
    """Each image lies among its five captions: nearer to them than to anything but its copies."""
    random = np.random.default_rng(0)
    v = unit(random.normal(size=(60, 16)))
    image = np.repeat(np.arange(60), 5)
    t = unit(v[image] + 0.05 * random.normal(size=(300, 16)))
    rows = gap.summary(v[image], t, items=Items.each(300))
    items = gap.summary(v[image], t)
    assert rows["same_modality_neighbours"] > 0.5
    assert items["same_modality_neighbours"] < 0.1
    assert items["uniformity_image"] < rows["uniformity_image"] - 0.1


def test_a_mixed_cloud_is_about_one_half_whatever_the_number_of_captions():
    random = np.random.default_rng(0)
    v, t = unit(random.normal(size=(300, 8))), unit(random.normal(size=(1500, 8)))
    found = gap.summary(np.repeat(v, 5, axis=0), t)
    assert found["same_modality_neighbours"] == pytest.approx(0.5, abs=0.05)
    assert found["linear_separability"] == pytest.approx(0.5, abs=0.07)


def test_rows_that_a_transform_made_equal_stay_two_items():
    v, t, image, text = captioned()
    items = copies.of(v[image], t[text])
    v[5] = v[6]
    found = gap.summary(v[image], t[text], items=items)
    assert found["uniformity_image"] == pytest.approx(
        reference(v, t, image, text)["uniformity_image"], rel=1e-5
    )
    assert items.copies["image"] == len(image) - IMAGES


def test_what_is_equal_and_what_answers_what():
    image, text = np.eye(5)[[0, 0, 1, 2, 3]], np.eye(5)[[0, 1, 2, 2, 4]]
    image[1] = -0.0
    image[1, 0] = 1.0
    found = copies.of(image, text)
    assert found.image.tolist() == [0, 0, 1, 2, 3] and found.text.tolist() == [0, 1, 2, 2, 3]
    assert found.group.tolist() == [0, 0, 1, 1, 2]
    assert copies.groups(image, text).tolist() == found.group.tolist()
    assert copies.groups(image, text, np.eye(5)[[0, 1, 2, 3, 0]]).tolist() == [0, 0, 1, 1, 0]
    assert copies.among(text, np.array([7, 7, 7, 8, 7])).tolist() == [0, 1, 2, 3, 4]
    assert found.copies == {"image": 1, "text": 1}
    assert copies.of(np.eye(3), np.nextafter(np.eye(3, dtype=np.float32), 2)).groups == 3


def test_a_sample_takes_whole_groups():
    items = Items(*[np.random.default_rng(0).integers(200, size=1000)] * 3)
    rows = items.sample(300, 0)
    assert len(set(rows)) == 300 and (np.diff(rows) > 0).all()
    cut = [g for g in np.unique(items.group[rows]) if (items.group == g).sum() > (
        items.group[rows] == g).sum()]  # fmt: skip
    assert len(cut) <= 1
    assert items.sample(300, 0).tolist() == rows.tolist() != items.sample(300, 1).tolist()
    np.testing.assert_array_equal(Items.each(1000).sample(300, 4), streaming.sample(1000, 300, 4))


@pytest.mark.parametrize(
    ("sizes", "least"), [([200, 200], 2), ([10_000] + [100] * 200, 17), ([290] + [1] * 20, 21)]
)
def test_no_group_fills_a_sample(sizes, least):
    """Captions that are names of classes link more pairs than a sample takes."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    rows = Items(group, group, group).sample(300, 0)
    assert len(set(rows)) == 300 and len(np.unique(group[rows])) >= least


def test_a_sample_of_two_captions_has_both(unit_rows):
    v, t = unit_rows(400, 16, 0), unit_rows(2, 16, 1)[np.repeat([0, 1], 200)]
    found = intervals(v, t, exact_pairs=100)
    assert all(np.isfinite([x.value, x.low, x.high]).all() for x in found.values())
    assert found["paired_recall@1_image_to_text"].value < 0.8 < -found["uniformity_text"].value


@pytest.fixture
def saved(tmp_path):
    v, t, image, text = captioned()
    for name, rows in (("image", v[image]), ("text", t[text])):
        np.save(tmp_path / f"{name}.npy", rows.astype(np.float16))
    return tmp_path


def test_files_say_how_many_copies_there_are(saved, capsys):
    """In half precision, too; on the page and in the table."""
    pair = [f"--{name}={saved}/{name}.npy" for name in ("image", "text")]
    assert cli.main(["gap", *pair, f"--output={saved}/out"]) == 0
    written = json.loads((saved / "out" / "gap.json").read_text())
    assert written["copies"] == {"image": 124 - IMAGES, "text": 4}
    words = "100 image rows and 4 text rows are copies of others"
    assert words in capsys.readouterr().out
    assert words in (saved / "out" / "report.html").read_text()


def test_without_copies_nothing_is_said_of_them(saved, capsys):
    np.save(saved / "some.npy", np.load(saved / "text.npy")[:3])
    np.save(saved / "other.npy", np.eye(6, dtype=np.float32)[:3])
    assert copies.said({"image": 0, "text": 1}) == "1 text row is a copy of another"
    given = [f"--image={saved}/other.npy", f"--text={saved}/some.npy", f"--output={saved}/out"]
    assert cli.main(["gap", *given]) == 0
    assert "cop" not in capsys.readouterr().out


def test_labels_count_their_own_copies_once(saved, monkeypatch):
    """An image is in both labels: once in each, where its captions are."""
    monkeypatch.setattr(files, "GROUPS", 32)
    label = np.arange(124) % 2
    np.save(saved / "label.npy", label)
    found = files.measure(
        saved / "image.npy", saved / "text.npy", saved / "out", saved / "label.npy"
    ).labels
    for name, entry in found.items():
        rows = np.flatnonzero(label == int(name))
        v, t = (files.load(saved / f"{x}.npy")[rows].astype(float) for x in ("image", "text"))
        centres = [np.unique(x, axis=0).mean(axis=0) for x in (v, t)]
        pairs = np.unique(np.concatenate([v, t], axis=1), axis=0)
        assert entry["pairs"] == 62
        assert entry["centroid_distance"] == pytest.approx(np.linalg.norm(centres[0] - centres[1]))
        assert entry["alignment_score"] == pytest.approx(
            (pairs[:, :6] * pairs[:, 6:]).sum(1).mean()
        )


def test_one_item_alone_has_no_gap(saved):
    np.save(saved / "same.npy", np.ones((124, 6)))
    with pytest.raises(AligngapError, match="all pairs share an image or a text"):
        files.measure(saved / "same.npy", saved / "text.npy", saved / "out")
    assert not (saved / "out").exists()
