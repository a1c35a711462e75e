"""Retrieval of 100,000 images among 500,000 texts and back, in a process of its own."""

import json
import subprocess
import sys

import numpy as np
import pytest

import programs

IMAGES, TEXTS, DIMENSION, NOISE, CHECKED = 100_000, 500_000, 64, 1.9, 50
MOST = 4 * 1024  # MiB of memory.
PROGRAM = (
    programs.PEAK
    + """
import json, sys
import numpy as np
from aligngap.tasks import retrieval

image, text = (np.load(path) for path in sys.argv[1:3])
places = np.arange(len(image)), np.arange(len(text)) % len(image)
scores = retrieval.scores(image, text, *places)
found = {name: each.value for name, each in scores.items()}
own = {name: each.items[: int(sys.argv[3])].tolist() for name, each in scores.items()}
print(json.dumps({"values": found, "own": own, "peak": peak()}))
"""
)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.system
def test_half_a_million_texts(tmp_path):
    """Within 4 GiB; the first queries against all products in float64."""
    random = np.random.default_rng(0)
    image = unit(random.standard_normal((IMAGES, DIMENSION), np.float32))
    right = np.arange(TEXTS) % IMAGES
    noise = random.standard_normal((TEXTS, DIMENSION), np.float32) * NOISE / DIMENSION**0.5
    text = unit(image[right] + noise)
    for name, rows in (("image", image), ("text", text)):
        np.save(tmp_path / f"{name}.npy", rows)
    paths = [str(tmp_path / f"{name}.npy") for name in ("image", "text")]
    call = [sys.executable, "-c", PROGRAM, *paths, str(CHECKED)]
    done = subprocess.run(call, env=programs.well_compiled(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["peak"] < MOST
    v, t = image.astype(np.float64), text.astype(np.float64)
    to_text, to_image = v[:CHECKED] @ t.T, t[:CHECKED] @ v.T
    for row in range(CHECKED):
        best = to_text[row, right == row].max()
        places = int((to_text[row] > best).sum()), int((to_image[row] > to_image[row, row]).sum())
        for name, place in zip(("text", "image"), places, strict=True):
            for k in (1, 5, 10):
                assert found["own"][f"{name}_retrieval_recall@{k}"][row] == (place < k)
    assert all(0.02 < value < 0.98 for value in found["values"].values())
