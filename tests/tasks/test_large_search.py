"""Mixed search of 10,000 queries among a million items, in a process of its own."""

import json
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import binom

import programs

ITEMS, QUERIES, DIMENSION, NOISE, CHECKED = 1_000_000, 10_000, 64, 1.2, 20
MOST = 4 * 1024  # MiB of memory.
PROGRAM = (
    programs.PEAK
    + """
import json, sys
import numpy as np
from aligngap.tasks import search
from aligngap.tasks.mixed_pool import Right, chunks_of

image, text, query = (np.load(path, mmap_mode="r") for path in sys.argv[1:4])
right = Right.own(len(query))
measured = search.measure(chunks_of(image, text), query, right)
own = {name: each[: int(sys.argv[4])].tolist() for name, each in measured.scores.items()}
means = {name: each.mean() for name, each in measured.scores.items()}
print(json.dumps({"own": own, "means": means, "peak": peak()}))
"""
)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def ranks(images, texts, own, p):
    """Chance of each of the first ten places of an item that scores `own`, among others each of
    which stands as image with probability p; without ties."""
    ahead = images > own, texts > own
    sure, either = (ahead[0] & ahead[1]).sum(), (ahead[0] & ~ahead[1]).sum()
    other = (ahead[1] & ~ahead[0]).sum()
    k = np.arange(10)
    sums = np.convolve(binom.pmf(k, either, p), binom.pmf(k, other, 1 - p))[:10]
    return np.concatenate([np.zeros(min(sure, 10)), sums])[:10]


def images_among_first(images, texts, p):
    """Mean share of images among the first ten: of the best 300 of each, from the best 150 images,
    each of which has fewer than ten others before it or not."""
    kept = np.union1d(*(np.argpartition(-scores, 300)[:300] for scores in (images, texts)))
    images, texts = images[kept], texts[kept]
    first = [
        ranks(np.delete(images, item), np.delete(texts, item), images[item], p).sum()
        for item in np.argsort(-images)[:150]
    ]
    return p * sum(first) / 10


@pytest.mark.system
def test_a_million_items(tmp_path):
    """Within 4 GiB; the first queries against all scores in float64."""
    random = np.random.default_rng(0)
    image = unit(random.standard_normal((ITEMS, DIMENSION), np.float32))

    def near(rows):
        noise = random.standard_normal(rows.shape, np.float32) * NOISE / DIMENSION**0.5
        return unit(rows + noise + np.float32(0.5) * np.eye(1, DIMENSION, dtype=np.float32))

    rows = {"image": image, "text": near(image), "query": near(image[:QUERIES])}
    for name, each in rows.items():
        np.save(tmp_path / f"{name}.npy", each)
    paths = [str(tmp_path / f"{name}.npy") for name in rows]
    call = [sys.executable, "-c", PROGRAM, *paths, str(CHECKED)]
    done = subprocess.run(call, env=programs.well_compiled(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["peak"] < MOST
    discounts = 1 / np.log2(np.arange(2, 12))
    wide = {name: each.astype(np.float64) for name, each in rows.items()}
    scores = {name: wide["query"][:CHECKED] @ wide[name].T for name in ("image", "text")}
    own = found["own"]
    for row in range(CHECKED):
        images, texts = (np.delete(scores[name][row], row) for name in ("image", "text"))
        for place in range(11):
            p = place / 10
            first = p * ranks(images, texts, scores["image"][row, row], p)
            first += (1 - p) * ranks(images, texts, scores["text"][row, row], p)
            assert own["ndcg@10"][row][place] == pytest.approx(first @ discounts, abs=1e-10)
            for k in (1, 5, 10):
                wanted = pytest.approx(first[:k].sum(), abs=1e-10)
                assert own[f"recall@{k}"][row][place] == wanted
    for place in range(11):
        fused = unit(place / 10 * wide["text"] + (1 - place / 10) * wide["image"])
        of_fused = wide["query"][:CHECKED] @ fused.T
        before = (of_fused > np.diagonal(of_fused)[:, None]).sum(axis=1)
        wanted = 1 / (1 + before)
        np.testing.assert_allclose(np.array(own["fused/mrr"])[:, place], wanted, atol=1e-10)
    for row in range(CHECKED):
        wanted = images_among_first(*(scores[name][row] for name in ("image", "text")), 0.5)
        assert own["images_among_first_10"][row][5] == pytest.approx(wanted, abs=1e-8)
    assert all(0.02 < value < 0.98 for value in found["means"].values())
