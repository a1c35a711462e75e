"""Two cones of paired rows, and queries between them."""

import numpy as np
import pytest


def cones(rows: int, width: int, seed: int):
    """(image, text, query) [rows, width] in float64, of different spreads and no length."""
    random = np.random.default_rng(seed)
    meaning = random.normal(size=(rows, width)) * np.linspace(1, 0.3, width)
    noise = 0.3 * random.normal(size=(3, rows, width))
    turned = np.linalg.qr(np.random.default_rng(99).normal(size=(width, width)))[0]
    meaning, offset = meaning + 1.5 * np.eye(width)[3], 1.2 * np.eye(width)
    image = 3 * (meaning + noise[0] + offset[0])
    text = 0.2 * (meaning @ (0.3 * turned + 0.9 * np.eye(width)) + noise[1] - offset[0])
    return image, text, meaning + 0.5 * noise[2] - 0.6 * offset[0] + 0.5 * offset[1]


@pytest.fixture
def clouds():
    return cones(60, 8, 0)


@pytest.fixture
def others():
    """Rows of the same kind that nothing is fitted on."""
    return cones(25, 8, 1)
